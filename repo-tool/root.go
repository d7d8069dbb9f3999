package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"tufboot/internal/atomicfile"
	"tufboot/internal/console"
	"tufboot/metadata/repository"
)

// rootCommand holds the commands of a ceremony: a file each.
func rootCommand() *cli.Command {
	return &cli.Command{
		Name:  "root",
		Usage: "change who may sign, by people who sign apart",
		Description: examples(`A change of keys is an event: one file that travels, on a USB stick or by mail,
from the one who proposes it to those who sign it, and back to be published. It
needs no secrecy: each signer's program computes from the signed metadata itself
what changes, and shows it. docs/key-ceremony.md goes through it line by line.

Where all the keys are in one hand, the commands key add, key remove and key
rotate do it in one step.`,
			"repo-tool root propose --repo repo -o event.json --add-key root=dana.pub --threshold root=3",
			"repo-tool root show event.json",
			"repo-tool root sign event.json --keys my-keys",
			"repo-tool root merge -o event.json from-anna.json from-ben.json",
			"repo-tool root publish event.json --repo repo --keys online-keys"),
		Subcommands: []*cli.Command{
			rootProposeCommand(),
			rootShowCommand(),
			rootSignCommand(),
			rootMergeCommand(),
			rootPublishCommand(),
		},
	}
}

// outFlag names the event's file that a command writes.
func outFlag(usage string) cli.Flag {
	return &cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: usage}
}

// readEvent reads and checks an event's file.
func readEvent(path string) (*repository.Event, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, repository.MaxEvent+1))
	if err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	event, err := repository.ParseEvent(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return event, nil
}

// oneEvent reads the event that a command was given.
func oneEvent(c *cli.Context) (path string, event *repository.Event, err error) {
	if n := c.Args().Len(); n != 1 {
		return "", nil, console.Usagef("%s: name one event's file, not %d; see repo-tool %s --help", commandName(c), n, commandName(c))
	}
	event, err = readEvent(c.Args().First())
	return c.Args().First(), event, err
}

// writeEvent writes an event's file, whole or not at all.
func writeEvent(path string, event *repository.Event) error {
	data, err := event.Encode()
	if err != nil {
		return err
	}
	return atomicfile.Write(path, data, 0o644)
}

// eventExists says that a file would be written over that may hold signatures.
type eventExists struct{ path string }

func (e *eventExists) Error() string      { return e.path + " is there already" }
func (e *eventExists) ExitCode() int      { return console.ExitRefused }
func (e *eventExists) ReasonCode() string { return "event-exists" }
func (e *eventExists) Hint() string {
	return "name another file, or remove this one: it may hold signatures"
}

func checkNewFile(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return &eventExists{path}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// eventResult is what the commands print that leave an event behind.
type eventResult struct {
	File     string              `json:"file"`
	Complete bool                `json:"complete"` // it can be published
	Changes  *repository.Changes `json:"changes"`
}

func newEventResult(path string, event *repository.Event) eventResult {
	return eventResult{File: path, Complete: event.Complete(), Changes: event.Changes()}
}

// next says what to do with an event.
func (r eventResult) next(w io.Writer) {
	if r.Complete {
		fmt.Fprintf(w, "next: root publish %s\n", r.File)
		return
	}
	for _, need := range r.Changes.Signatures {
		if more := need.Threshold - len(need.Signed); need.Required && more > 0 {
			fmt.Fprintf(w, "needed: %d more of the %s keys of %s\n", more, map[string]string{"old": "old", "new": "new", "all": "present"}[need.Keys], need.Metadata)
		}
	}
	fmt.Fprintf(w, "next: let their holders run root sign on %s, or on copies of it that root merge joins\n", r.File)
}

// confirm asks on the terminal. Where there is none, the answer must have been
// given with --yes.
func confirm(c *cli.Context, question string) error {
	if c.Bool("yes") {
		return nil
	}
	if !console.IsTerminal(os.Stdin) {
		return console.Usagef("%s: there is no terminal to ask on: give --yes if you have read what changes", commandName(c))
	}
	fmt.Fprintf(c.App.ErrWriter, "%s [yes/no] ", question)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "yes" && a != "y" {
		return &notConfirmed{}
	}
	return nil
}

// notConfirmed says that the person said no.
type notConfirmed struct{}

func (*notConfirmed) Error() string      { return "not confirmed; nothing was signed" }
func (*notConfirmed) ExitCode() int      { return console.ExitRefused }
func (*notConfirmed) ReasonCode() string { return "not-confirmed" }
