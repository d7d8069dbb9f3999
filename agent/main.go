// Command agent keeps a GRUB-booted node up to date from a signed TUF
// repository: it writes the inactive slot, arms it for trial boots, and commits
// or gives it up by health checks.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"

	"tufboot/internal/console"
)

// version and buildTime are set by the linker. buildTime (RFC 3339) is the
// earliest time that the agent believes a clock.
var (
	version   = "development"
	buildTime = ""
)

// memoryLimit is where Go collects garbage more often, in bytes: what is in use
// is less, and the heap would else grow to twice of that. More is not refused, but
// takes processor time: at 12 MiB a delta update collected 170 times, at this 37
// at most with 500 MB, in less than a hundredth of its time.
const memoryLimit = 16 << 20

func main() {
	limitMemory()
	os.Exit(run(os.Args))
}

// limitMemory sets memoryLimit where the operator has set no other.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	app := newApp()
	err := app.RunContext(ctx, args)
	if err != nil && ctx.Err() != nil {
		err = &interruptedError{context.Cause(ctx)}
	}
	if err != nil {
		console.PrintError(app.ErrWriter, app.Name, err, wantsJSON(args))
	}
	return console.ExitCode(err)
}

// interruptedError says that the process was told to end, and has.
type interruptedError struct{ by error }

func (e *interruptedError) Error() string { return fmt.Sprintf("interrupted: %v", e.by) }
func (e *interruptedError) Unwrap() error { return e.by }

// ReasonCode returns the stable reason code.
func (e *interruptedError) ReasonCode() string { return "interrupted" }

// Hint tells the operator what to do.
func (e *interruptedError) Hint() string {
	return "run it again: it goes on from what is there, and nothing that was unfinished is booted"
}

// wantsJSON looks for --json among the arguments as given, since an error in
// them may keep the flag from being parsed, and in the environment.
func wantsJSON(args []string) bool {
	if on, err := strconv.ParseBool(os.Getenv("TUFBOOT_JSON")); err == nil && on {
		return true
	}
	for _, a := range args[1:] {
		switch a {
		case "--json", "-json", "--json=true":
			return true
		case "--":
			return false
		}
	}
	return false
}
