package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// flagsFirst moves the flags of a command before its other arguments. The
// library stops looking for flags at the first argument that is none, so that
// "promote 1.4.0 --to stable" would lose its flag; people write it like that.
func flagsFirst(app *cli.App, args []string) []string {
	if len(args) == 0 {
		return args
	}
	out, rest := args[:1:1], args[1:]
	flags, commands := app.Flags, app.Commands
	for {
		n := leadingFlags(flags, rest)
		out, rest = append(out, rest[:n]...), rest[n:]
		command := commandNamed(commands, rest)
		if command == nil && len(commands) > 0 {
			return args // it is the command that is wrong
		} else if command == nil {
			break
		}
		out, rest = append(out, rest[0]), rest[1:]
		flags, commands = command.Flags, command.Subcommands
	}
	var moved, others []string
	for len(rest) > 0 {
		if rest[0] == "--" {
			others = append(others, rest[1:]...)
			break
		}
		if n := leadingFlags(flags, rest); n > 0 {
			moved, rest = append(moved, rest[:n]...), rest[n:]
			continue
		}
		others, rest = append(others, rest[0]), rest[1:]
	}
	if len(others) == 0 {
		return append(out, moved...)
	}
	return append(append(append(out, moved...), "--"), others...)
}

// leadingFlags returns how many of the words that args start with are flags and
// their values.
func leadingFlags(flags []cli.Flag, args []string) int {
	n := 0
	for n < len(args) && len(args[n]) > 1 && args[n][0] == '-' && args[n] != "--" {
		name, _, joined := strings.Cut(strings.TrimLeft(args[n], "-"), "=")
		n++
		if !joined && takesValue(flags, name) && n < len(args) {
			n++
		}
	}
	return n
}

// takesValue reports whether the named flag is followed by a value. Help,
// version and completion, which the library adds, are not.
func takesValue(flags []cli.Flag, name string) bool {
	for _, f := range flags {
		for _, n := range f.Names() {
			if n == name {
				_, isBool := f.(*cli.BoolFlag)
				return !isBool
			}
		}
	}
	return false
}

func commandNamed(commands []*cli.Command, args []string) *cli.Command {
	if len(args) == 0 {
		return nil
	}
	for _, c := range commands {
		if c.HasName(args[0]) {
			return c
		}
	}
	return nil
}
