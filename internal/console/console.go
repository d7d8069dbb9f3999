// Package console is what the two command lines share towards the user: log
// set-up, JSON output, progress, and the one mapping from errors to exit codes.
package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
)

// Exit codes of both programs. They are a contract with scripts.
const (
	ExitDone         = 0 // done, or nothing to do
	ExitFailed       = 1 // something went wrong; trying again may help
	ExitUsage        = 2 // wrong arguments or configuration
	ExitRefused      = 3 // refused by policy or state; a reason code says which
	ExitVerification = 4 // signature, hash, length, expiry or version is wrong
	ExitUnhealthy    = 5 // a required health check failed
)

// Coder is an error that knows its exit code.
type Coder interface {
	error
	ExitCode() int
}

// Reasoner is an error with a stable reason code for machines, such as
// "trial-pending" or "metadata-expired".
type Reasoner interface {
	error
	ReasonCode() string
}

// Hinter is an error with a sentence that tells the operator what to do.
type Hinter interface {
	error
	Hint() string
}

// ExitCode maps an error to the exit code of the process: the code of the
// first Coder in its chain, else ExitFailed.
func ExitCode(err error) int {
	if err == nil {
		return ExitDone
	}
	var c Coder
	if errors.As(err, &c) {
		return c.ExitCode()
	}
	return ExitFailed
}

// ReasonCode returns the reason code of the first Reasoner in err's chain, or
// "error".
func ReasonCode(err error) string {
	var r Reasoner
	if errors.As(err, &r) {
		return r.ReasonCode()
	}
	return "error"
}

// Hint returns the hint of the first Hinter in err's chain, or "".
func Hint(err error) string {
	var h Hinter
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// UsageError marks an error as the caller's wrong arguments or configuration.
type UsageError struct{ Err error }

// Usagef returns a UsageError with a formatted text.
func Usagef(format string, args ...any) error {
	return &UsageError{Err: fmt.Errorf(format, args...)}
}

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// ExitCode returns ExitUsage.
func (e *UsageError) ExitCode() int { return ExitUsage }

// ReasonCode returns "usage".
func (e *UsageError) ReasonCode() string { return "usage" }

// failure is what a failed command prints with --json.
type failure struct {
	Error  string `json:"error"`
	Reason string `json:"reason"`
	Hint   string `json:"hint,omitempty"`
}

// PrintError tells the user of err: a line "program: error: ..." and a line
// with the hint on w, or one JSON object on w.
func PrintError(w io.Writer, program string, err error, asJSON bool) {
	if asJSON {
		_ = PrintJSON(w, failure{Error: err.Error(), Reason: ReasonCode(err), Hint: Hint(err)})
		return
	}
	fmt.Fprintf(w, "%s: error: %v\n", program, err)
	if reason := ReasonCode(err); reason != "error" && reason != "usage" {
		fmt.Fprintf(w, "%s: reason: %s\n", program, reason)
	}
	if hint := Hint(err); hint != "" {
		fmt.Fprintf(w, "%s: what to do: %s\n", program, hint)
	}
}

// PrintJSON writes v as indented JSON.
func PrintJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// Logger returns a logger that writes to w in format "text" or "json".
func Logger(w io.Writer, format string, level slog.Leveler) (*slog.Logger, error) {
	opts := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, Usagef("log format %q: use text or json", format)
}

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool {
	return isTerminal(int(f.Fd()))
}
