package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata/rehearsal"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

const description = `A repository is a folder of static files: release artifacts and the signed TUF
metadata that vouches for them. Any web server can hand it out; no server has to
be trusted.

Exit codes: 0 done, or nothing to do; 1 failed; 2 wrong usage; 3 refused, with a
reason code; 4 verification failed. Flags win over REPO_TOOL_* variables.`

// newApp returns the command line.
func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:                      "repo-tool",
		Usage:                     "make, publish to and keep a signed repository of system releases",
		Description:               description,
		Version:                   versionText(),
		Writer:                    stdout,
		ErrWriter:                 stderr,
		Flags:                     commonFlags(),
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true, // a path may hold a comma
		Suggest:                   true,
		// run maps errors to exit codes; the library must not end the process.
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   usageError,
		Action:         noCommand,
	}
	for _, command := range []*cli.Command{
		initCommand(),
		publishCommand(),
		promoteCommand(),
		withdrawCommand(),
		channelCommand(),
		refreshCommand(),
		listCommand(),
		statusCommand(),
		verifyCommand(),
		diffCommand(),
		explainCommand(),
		mirrorCommand(),
		bundleCommand(),
		pruneCommand(),
		serveCommand(),
		imageCommand(),
		repackCommand(),
		keyCommand(),
		rootCommand(),
		completionCommand(),
	} {
		app.Commands = append(app.Commands, finish(command))
	}
	return app
}

// finish adds to a command what all commands have, and to its subcommands too.
// A command with subcommands does nothing itself but show its help.
func finish(command *cli.Command) *cli.Command {
	command.Flags = append(command.Flags, commonFlags()...)
	setDefaultTexts(command.Flags)
	command.OnUsageError = usageError
	command.HideHelpCommand = true
	if command.Subcommands != nil {
		for _, sub := range command.Subcommands {
			finish(sub)
		}
		command.Action = noSubcommand
		return command
	}
	action := command.Action
	command.Action = func(c *cli.Context) error {
		if c.Args().Len() > 0 && command.ArgsUsage == "" {
			return console.Usagef("%s: unexpected argument %q", commandName(c), c.Args().First())
		}
		return action(c)
	}
	return command
}

// commandName returns the command's name with those of the commands above it,
// such as "key generate".
func commandName(c *cli.Context) string {
	return strings.TrimPrefix(c.Command.HelpName, c.App.Name+" ")
}

func versionText() string {
	if buildTime == "" {
		return version
	}
	return version + " (built " + buildTime + ")"
}

func usageError(c *cli.Context, err error, _ bool) error {
	return &console.UsageError{Err: explainValue(c, err)}
}

func noCommand(c *cli.Context) error {
	if c.Args().Len() == 0 {
		return cli.ShowAppHelp(c)
	}
	return console.Usagef("unknown command %q; see repo-tool --help", c.Args().First())
}

func noSubcommand(c *cli.Context) error {
	if c.Args().Len() == 0 {
		return cli.ShowSubcommandHelp(c)
	}
	name := commandName(c)
	return console.Usagef("%s: unknown command %q; see repo-tool %s --help", name, c.Args().First(), name)
}

// commonFlags stand before or after the command's name.
func commonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "json", Usage: "print results and errors as JSON"},
		&cli.StringFlag{Name: "log-format", Usage: "format of log lines on the error output: `text` or json", EnvVars: []string{"REPO_TOOL_LOG_FORMAT"}},
		&cli.BoolFlag{Name: "verbose", Usage: "log what is written"},
		// Signing with a false date makes metadata that is expired or valid
		// for too long. It exists for fixtures.
		&cli.TimestampFlag{Name: "unsafe-now", Hidden: true, Layout: time.RFC3339},
		// So does a repository that clients refuse.
		&cli.BoolFlag{Name: "unsafe-no-rehearsal", Hidden: true},
	}
}

// common are the values of commonFlags.
type common struct {
	unrehearsed bool
	json        bool
	logger      *slog.Logger
	now         func() time.Time
}

func commonOf(c *cli.Context) (common, error) {
	var v common
	format, level := "text", slog.LevelWarn
	v.now = time.Now
	// A flag may be set before the command's name or after it.
	for _, ctx := range c.Lineage() {
		if ctx.Bool("json") {
			v.json = true
		}
		if ctx.Bool("verbose") {
			level = slog.LevelInfo
		}
		if s := ctx.String("log-format"); s != "" && format == "text" {
			format = s
		}
		if ctx.Bool("unsafe-no-rehearsal") {
			v.unrehearsed = true
		}
		if t := ctx.Timestamp("unsafe-now"); t != nil {
			v.now = func() time.Time { return *t }
		}
	}
	var err error
	v.logger, err = console.Logger(c.App.ErrWriter, format, level)
	return v, err
}

// options are those of every command. What a command is about to publish is
// tried with the real client first.
func (v common) options() repository.Options {
	opts := repository.Options{Now: v.now, Logger: v.logger}
	if !v.unrehearsed {
		opts.Rehearse = rehearsal.New(rehearsal.Options{Now: v.now, Logger: v.logger})
	}
	return opts
}

// print shows a result: as JSON, or with text.
func (v common) print(c *cli.Context, result any, text func(w io.Writer)) error {
	if v.json {
		return console.PrintJSON(c.App.Writer, result)
	}
	text(c.App.Writer)
	return nil
}

// require checks that flags without which a command makes no sense are set.
func require(c *cli.Context, names ...string) error {
	for _, name := range names {
		if !c.IsSet(name) {
			command := commandName(c)
			return console.Usagef("%s: --%s is missing; see repo-tool %s --help", command, name, command)
		}
	}
	return nil
}

// oneArg returns the argument of a command that takes one at the most, or
// otherwise where there is none.
func oneArg(c *cli.Context, what, otherwise string) (string, error) {
	switch c.Args().Len() {
	case 0:
		return otherwise, nil
	case 1:
		return c.Args().First(), nil
	}
	return "", console.Usagef("%s: one %s, not %d", commandName(c), what, c.Args().Len())
}

func repoFlag() cli.Flag {
	return &cli.StringFlag{Name: "repo", Usage: "the repository's `PLACE`: a folder, or a bucket (s3://BUCKET?prefix=DIR/)", EnvVars: []string{"REPO_TOOL_REPO"}}
}

// openRepo returns the repository that --repo names.
func openRepo(c *cli.Context, v common) (*repository.Repository, error) {
	if err := require(c, "repo"); err != nil {
		return nil, err
	}
	store, err := openStore(c, "repo")
	if err != nil {
		return nil, err
	}
	opts := v.options()
	if opts.Pinned, opts.Remember, err = pinnedRoots(c.StringSlice("keys")); err != nil {
		return nil, err
	}
	return repository.Open(c.Context, store, opts)
}

// Files beside keys: pinnedFile says which repository they are for, and
// rememberFile which state of it was published with them last.
const (
	pinnedFile   = "root.json"
	rememberFile = "published.json"
)

// pinnedRoots returns the roots in the folders of keys, and the files that remember
// what was published.
func pinnedRoots(dirs []string) (roots [][]byte, remember []string, err error) {
	const maxRoot = 16 << 20
	for _, dir := range dirs {
		data, err := storage.ReadLocal(filepath.Join(dir, pinnedFile), maxRoot)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, nil, fmt.Errorf("the root that the keys belong to: %w", err)
		}
		roots = append(roots, data)
		remember = append(remember, filepath.Join(dir, rememberFile))
	}
	return roots, remember, nil
}

// keysFlags are the flags of commands that sign.
func keysFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "keys", Usage: "folder `DIR` with the private keys; can be given several times", EnvVars: []string{"REPO_TOOL_KEYS"}},
		passwordFlag(),
	}
}

// examples formats a command's description with its examples.
func examples(text string, lines ...string) string {
	out := text + "\n\nExamples:"
	for _, line := range lines {
		out += fmt.Sprintf("\n   %s", line)
	}
	return out
}
