package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
)

const defaultConfig = "/etc/tufboot/agent.yaml"

func newApp() *cli.App {
	app := &cli.App{
		Name:    "agent",
		Usage:   "keep this node up to date from a signed repository, and roll back what does not work",
		Version: version,
		Description: `The agent writes a new release into the slot that is not running, arms it, and
after the reboot lets health checks decide whether it stays. Whatever happens on
the way, the machine boots a release that was verified.

Exit codes: 0 done or nothing to do, 1 failed, 2 wrong usage, 3 refused (see the
reason code), 4 verification failed, 5 unhealthy.

It is configured by /etc/tufboot/agent.yaml; docs/configuration.md has every key,
with its flag and environment variable.

Examples:

   agent status                     what runs, what boots next, what failed
   agent check                      what an update would do, and why
   agent update --reboot            bring the node to its channel's release
   agent update --release 1.4.2     install a release by name
   agent healthcheck --wait 10m --reboot-on-failure
                                    the gate after a boot
   agent rollback                   back to the other slot`,
		EnableBashCompletion:      true,
		DisableSliceFlagSeparator: true,
		Writer:                    os.Stdout,
		ErrWriter:                 os.Stderr,
		ExitErrHandler:            func(*cli.Context, error) {}, // run maps errors to exit codes
		OnUsageError:              usageError,
		Action:                    noVerb,
		Commands: []*cli.Command{
			statusCommand(), checkCommand(), updateCommand(), applyCommand(), activateCommand(),
			healthcheckCommand(), watchdogCommand(), rollbackCommand(), locateCommand(), completionCommand(),
		},
	}
	for _, c := range app.Commands {
		c.OnUsageError = usageError
	}
	return app
}

func usageError(c *cli.Context, err error, _ bool) error {
	return console.Usagef("%w; see `%s --help`", err, strings.TrimSpace(c.App.Name+" "+c.Command.Name))
}

func noVerb(c *cli.Context) error {
	if c.Args().Present() {
		return console.Usagef("there is no command %q; see `agent --help`", c.Args().First())
	}
	return cli.ShowAppHelp(c)
}

// noArguments refuses arguments that a verb does not take.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return console.Usagef("unexpected argument %q; see `agent %s --help`", c.Args().First(), c.Command.Name)
	}
	return nil
}

// commonFlags are taken by every verb.
func commonFlags(more ...cli.Flag) []cli.Flag {
	flag := func(name, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Usage: usage, EnvVars: []string{"TUFBOOT_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))}}
	}
	return append(more,
		&cli.StringFlag{Name: "config", Usage: "configuration `FILE`", Value: defaultConfig, EnvVars: []string{"TUFBOOT_CONFIG"}},
		flag("server", "`URL` of the folder that holds metadata/ and targets/ (http, https, file)"),
		flag("channel", "`NAME` of the channel to follow"),
		flag("root", "`FILE` with the root.json that this node trusts"),
		flag("state-dir", "`FOLDER` for what the agent remembers"),
		flag("disk", "`DEVICE` that holds the slots (default: the disk that was booted)"),
		flag("grubenv", "`FILE` with the environment block (default: grub/grubenv on the ESP)"),
		flag("booted-slot", "`A|B|none`: the running slot, where the kernel command line does not say it"),
		&cli.BoolFlag{Name: "json", Usage: "print JSON", EnvVars: []string{"TUFBOOT_JSON"}},
		&cli.StringFlag{Name: "log-format", Usage: "`text|json`", Value: "text", EnvVars: []string{"TUFBOOT_LOG_FORMAT"}},
		&cli.StringFlag{Name: "log-level", Usage: "`debug|info|warn|error`", Value: "info", EnvVars: []string{"TUFBOOT_LOG_LEVEL"}},
	)
}

// noDeltaFlag has a verb fetch whole files.
func noDeltaFlag() cli.Flag {
	return &cli.BoolFlag{Name: "no-delta", Usage: "fetch all of the release, whatever the slots hold of it", EnvVars: []string{"TUFBOOT_NO_DELTA"}}
}

// bandwidthFlag holds a download back.
func bandwidthFlag() cli.Flag {
	return &cli.StringFlag{Name: "bandwidth-limit", Usage: "fetch a release at no more than this `RATE`, such as 10MB/s", EnvVars: []string{"TUFBOOT_BANDWIDTH_LIMIT"}}
}

// lockFlag lets a verb wait for another agent.
func lockFlag() cli.Flag {
	return &cli.DurationFlag{Name: "lock-wait", Usage: "wait so `LONG` for another agent to end (default: refuse at once)", EnvVars: []string{"TUFBOOT_LOCK_WAIT"}}
}

// print shows a result: as JSON with --json, else as text.
func print(c *cli.Context, result any, text string) error {
	if c.Bool("json") {
		return console.PrintJSON(c.App.Writer, result)
	}
	_, err := fmt.Fprintln(c.App.Writer, text)
	return err
}

// verb wraps the work of one command: no stray arguments, then the node, then
// the work, with no more rights than it needs.
func verb(work func(context.Context, *cli.Context, *session) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := noArguments(c); err != nil {
			return err
		}
		s, err := openSession(c)
		if err != nil {
			return err
		}
		s.confine()
		return work(c.Context, c, s)
	}
}
