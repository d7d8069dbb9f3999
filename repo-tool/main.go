// Command repo-tool is the release engineer's side of tufboot: it makes a TUF
// repository, publishes releases to it, and keeps it fresh.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"tufboot/internal/console"
)

// Set by the linker: the version, and when it was built (RFC 3339).
var (
	version   = "development"
	buildTime = ""
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program without the process: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	if n := len(args) - 1; n > 0 && args[n] == completionWord {
		complete(stdout, app, args[1:n])
		return console.ExitDone
	}
	err := app.RunContext(ctx, flagsFirst(app, args))
	if err != nil {
		console.PrintError(stderr, "repo-tool", err, slices.Contains(args, "--json"))
	}
	return console.ExitCode(err)
}
