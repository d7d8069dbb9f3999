package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// gate is the state of Run or Wait: the options with their defaults filled in,
// and what is still running from earlier rounds.
type gate struct {
	Options
	members []*member
	rounds  int
}

// member is one check within a gate.
type member struct {
	check    Check
	required bool
	last     string       // the error of the round before, as logged
	stuck    <-chan error // the run that outlived its timeout, or nil
	since    time.Time    // when the stuck run was started
}

func newGate(o Options) *gate {
	g := &gate{Options: o}
	g.Timeout = orDefault(o.Timeout, DefaultTimeout)
	g.Interval = orDefault(o.Interval, DefaultInterval)
	g.Deadline = orDefault(o.Deadline, DefaultDeadline)
	if g.Logger == nil {
		g.Logger = slog.New(slog.DiscardHandler)
	}
	for _, c := range o.Required {
		g.members = append(g.members, &member{check: c, required: true})
	}
	for _, c := range o.Wanted {
		g.members = append(g.members, &member{check: c})
	}
	return g
}

func orDefault(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

func (g *gate) warnIfEmpty() {
	if len(g.Required) == 0 {
		g.Logger.Warn("no required health check is configured: every boot counts as healthy")
	}
}

// round runs every check once and waits for all.
func (g *gate) round(ctx context.Context) Report {
	g.rounds++
	report := Report{Healthy: true, Rounds: g.rounds, Results: make([]Result, len(g.members))}
	var wg sync.WaitGroup
	for i, m := range g.members {
		wg.Go(func() { report.Results[i] = m.run(ctx, g.Logger, g.Timeout) })
	}
	wg.Wait()
	for i, r := range report.Results {
		if r.Required && !r.Passed {
			report.Healthy = false
		}
		g.log(g.members[i], r)
	}
	return report
}

// log tells what is new: a gate may fail in the same way for ten minutes, on a
// serial console.
func (g *gate) log(m *member, r Result) {
	l := g.Logger.With("check", r.Name, "required", r.Required, "round", g.rounds, "duration", r.Duration)
	switch {
	case r.Passed && m.last != "":
		l.Info("health check passes now")
	case r.Passed:
		l.Debug("health check passed")
	case r.Error == m.last:
		l.Debug("health check failed again", "error", r.Error)
	default:
		l.Warn("health check failed", "error", r.Error)
	}
	m.last = r.Error
}

// run makes one run of the check and turns it into a Result.
func (m *member) run(ctx context.Context, l *slog.Logger, timeout time.Duration) Result {
	start := time.Now()
	err := m.attempt(ctx, l, timeout, start)
	r := Result{Name: m.check.Name(), Required: m.required, Passed: err == nil, Duration: time.Since(start)}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// attempt starts the check and waits until it answers or its time is up. A
// check that ignores its context is left behind and remembered: until it ends,
// later attempts fail at once instead of piling up more of it.
func (m *member) attempt(ctx context.Context, l *slog.Logger, timeout time.Duration, now time.Time) error {
	if m.stuck != nil {
		select {
		case late := <-m.stuck: // too old to count
			l.Info("a stuck health check has ended", "check", m.check.Name(), "answer", late)
			m.stuck = nil
		default:
			return fmt.Errorf("still stuck in the run that was started %s ago", now.Sub(m.since).Round(time.Second))
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()

	done := start(ctx, l, m.check)
	select {
	case err := <-done:
		return explain(ctx, err)
	case <-ctx.Done():
	}
	// The check has seen the same end of the context and may be about to say
	// something better than "timeout"; it gets a moment for that. It is too late
	// to pass.
	select {
	case err := <-done:
		if err != nil {
			return explain(ctx, err)
		}
	case <-time.After(answerGrace):
		m.stuck, m.since = done, now
	}
	return context.Cause(ctx)
}

// answerGrace is how long a check may take to report after its context ended.
const answerGrace = time.Second

// explain adds why the context ended to an error that a check returned because
// of it ("signal: killed", "context deadline exceeded").
func explain(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	cause := context.Cause(ctx)
	if errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", cause, err)
}

// start runs the check in a goroutine of its own and returns where its answer
// will arrive. Whatever the check does, panic and runtime.Goexit included, one
// answer arrives unless it hangs.
func start(ctx context.Context, l *slog.Logger, c Check) <-chan error {
	done := make(chan error, 1)
	go func() {
		err := errors.New("the check ended without an answer")
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("the check panicked: %v", p)
				l.Error("health check panicked", "check", c.Name(), "panic", p, "stack", string(debug.Stack()))
			}
			done <- err
		}()
		err = c.Run(ctx)
	}()
	return done
}
