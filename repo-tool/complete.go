package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// completionWord is the last word of the question that the shells' scripts ask,
// see [console.Completion].
const completionWord = "--generate-bash-completion"

// complete prints what may stand in the place of a command line's next word, one
// candidate a line; the shell picks those that begin as the word does. words are
// those before it, and the word itself if it begins with a dash. Nothing is
// printed where the name of a file may stand.
//
// The library's own answer takes "--" for the end of all flags, shows hidden
// ones, and knows no arguments.
func complete(w io.Writer, app *cli.App, words []string) {
	last := ""
	if n := len(words); n > 0 && strings.HasPrefix(words[n-1], "-") {
		last, words = words[n-1], words[:n-1]
	}
	flags, commands, arguments := app.Flags, app.Commands, ""
	for {
		words = words[leadingFlags(flags, words):]
		command := commandNamed(commands, words)
		if command == nil {
			break
		}
		flags, commands, arguments, words = command.Flags, command.Subcommands, command.ArgsUsage, words[1:]
	}
	var names []string
	switch name := strings.TrimLeft(last, "-"); {
	case takesValue(flags, name):
	case last != "" && !isFlag(flags, name):
		names = flagNames(flags)
	case last != "": // the word itself, or one before the next
		names = append(argumentNames(commands, arguments, words), flagNames(flags)...)
	default:
		names = argumentNames(commands, arguments, words)
	}
	for _, name := range names {
		fmt.Fprintln(w, name)
	}
}

// argumentNames returns what may follow the words after a command's name, other
// than a flag.
func argumentNames(commands []*cli.Command, arguments string, words []string) []string {
	if len(words) > 0 {
		return nil // an argument is there, or a command that there is not
	}
	var names []string
	for _, command := range commands {
		if !command.Hidden {
			names = append(names, command.Name)
		}
	}
	if strings.Contains(arguments, "|") {
		names = append(names, strings.Split(arguments, "|")...)
	}
	return names
}

func isFlag(flags []cli.Flag, name string) bool {
	return slices.ContainsFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
}

// flagNames returns a command's flags but the hidden ones.
func flagNames(flags []cli.Flag) []string {
	names := []string{"--help"}
	for _, flag := range flags {
		if visible, ok := flag.(cli.VisibleFlag); ok && !visible.IsVisible() {
			continue
		}
		for _, name := range flag.Names() {
			if len(name) > 1 {
				names = append(names, "--"+name)
			} else {
				names = append(names, "-"+name)
			}
		}
	}
	return names
}
