package health

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Defaults of Options.
const (
	DefaultTimeout  = 30 * time.Second
	DefaultInterval = 5 * time.Second
	DefaultDeadline = 10 * time.Minute
)

// Check is one question to the node. Run returns nil when the answer is good,
// and otherwise an error that tells an operator what was asked of whom and what
// came back. Run should end soon after ctx does; the gate does not rely on it.
type Check interface {
	// Name is short, stable and unique within one gate, such as "api-server".
	Name() string
	Run(ctx context.Context) error
}

// Options is what a gate runs and how long it is prepared to wait.
type Options struct {
	Required []Check // all must pass
	Wanted   []Check // failures are reported and have no consequence

	Timeout  time.Duration // limit of each run of a check; 0: DefaultTimeout
	Interval time.Duration // pause between two rounds of Wait; 0: DefaultInterval
	Deadline time.Duration // limit of Wait as a whole; 0: DefaultDeadline

	Logger *slog.Logger // nil: no log
}

// Result is what one check said in the last round.
type Result struct {
	Name     string        `json:"name"`
	Required bool          `json:"required"`
	Passed   bool          `json:"passed"`
	Error    string        `json:"error,omitempty"`
	Duration time.Duration `json:"duration_ns"`
}

// Report is the outcome of a round: the results in the order of Options, the
// required checks first. Healthy says that every required check passed; it is
// true for a gate without required checks, which the log warns of.
type Report struct {
	Healthy bool     `json:"healthy"`
	Rounds  int      `json:"rounds"` // how many rounds were run
	Results []Result `json:"results"`
}

// Failed returns the required checks that did not pass.
func (r Report) Failed() []Result {
	var failed []Result
	for _, res := range r.Results {
		if res.Required && !res.Passed {
			failed = append(failed, res)
		}
	}
	return failed
}

// Run runs each check once, all at the same time, and returns when each has
// answered or used up its timeout. When ctx ends, the checks that have not
// answered by then count as failed.
func Run(ctx context.Context, o Options) Report {
	g := newGate(o)
	g.warnIfEmpty()
	return g.round(ctx)
}

// Wait runs rounds until all required checks pass in the same round, or until
// the deadline or ctx ends, and returns the last round's report. A round that
// the deadline cuts short counts: its unanswered checks have failed. At least
// one round is started.
func Wait(ctx context.Context, o Options) Report {
	g := newGate(o)
	g.warnIfEmpty()
	ctx, cancel := context.WithTimeoutCause(ctx, g.Deadline, errDeadline)
	defer cancel()

	for {
		report := g.round(ctx)
		if report.Healthy {
			return report
		}
		select {
		case <-ctx.Done():
			return report
		case <-time.After(g.Interval):
		}
	}
}

var (
	errDeadline = errors.New("the deadline of the health gate has passed")
	errTimeout  = errors.New("no answer within the check's timeout")
)
