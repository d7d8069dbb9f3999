package health_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tufboot/agent/health"
)

// fake is a check that is a function.
type fake struct {
	name string
	run  func(context.Context) error
}

func (f fake) Name() string                  { return f.name }
func (f fake) Run(ctx context.Context) error { return f.run(ctx) }

func pass(context.Context) error { return nil }
func fail(context.Context) error { return errors.New("no") }

// onRound returns a check function whose n-th call does what script[n-1] says,
// and the last one from then on.
func onRound(script ...func(context.Context) error) (run func(context.Context) error, calls *int) {
	calls = new(int)
	return func(ctx context.Context) error {
		i := min(*calls, len(script)-1)
		*calls++
		return script[i](ctx)
	}, calls
}

func TestRun(t *testing.T) {
	p, f := fake{"p", pass}, fake{"f", fail}
	for _, tt := range []struct {
		name             string
		required, wanted []health.Check
		healthy          bool
		passed           []bool
	}{
		{"all pass", []health.Check{p, p}, []health.Check{p}, true, []bool{true, true, true}},
		{"one required fails", []health.Check{p, f}, nil, false, []bool{true, false}},
		{"the first required fails", []health.Check{f, p}, nil, false, []bool{false, true}},
		{"a wanted one fails", []health.Check{p}, []health.Check{f}, true, []bool{true, false}},
		{"a wanted one passes, a required one fails", []health.Check{f}, []health.Check{p}, false, []bool{false, true}},
		{"none", nil, nil, true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := health.Run(t.Context(), health.Options{Required: tt.required, Wanted: tt.wanted})
			if r.Healthy != tt.healthy || len(r.Results) != len(tt.passed) || r.Rounds != 1 {
				t.Fatalf("got %+v", r)
			}
			for i, res := range r.Results {
				if res.Passed != tt.passed[i] || res.Required != (i < len(tt.required)) || res.Passed != (res.Error == "") {
					t.Errorf("result %d: %+v", i, res)
				}
			}
		})
	}
}

func TestFailedNamesRequiredChecksOnly(t *testing.T) {
	r := health.Run(t.Context(), health.Options{
		Required: []health.Check{fake{"a", pass}, fake{"b", fail}},
		Wanted:   []health.Check{fake{"c", fail}},
	})
	if failed := r.Failed(); len(failed) != 1 || failed[0].Name != "b" {
		t.Errorf("got %+v", failed)
	}
}

func TestNoRequiredChecksIsWarnedOf(t *testing.T) {
	var log bytes.Buffer
	health.Run(t.Context(), health.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if !strings.Contains(log.String(), "no required health check") {
		t.Errorf("log: %q", log.String())
	}
}

// A gate that fails for long says so once for each way of failing.
func TestLogTellsWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := func(context.Context) error { return errors.New("other") }
		run, _ := onRound(fail, fail, fail, other, other, fail, pass)
		var log bytes.Buffer
		health.Wait(t.Context(), health.Options{Required: []health.Check{fake{"x", run}}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if n := strings.Count(log.String(), "health check failed"); n != 3 || strings.Count(log.String(), "passes now") != 1 {
			t.Errorf("%d failures:\n%s", n, log.String())
		}
	})
}

// Two checks that each wait for the other to have started pass only when a
// round runs them at the same time.
func TestChecksRunInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := make(chan bool), make(chan bool)
		meet := func(mine, other chan bool) func(context.Context) error {
			return func(ctx context.Context) error {
				close(mine)
				select {
				case <-other:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		r := health.Run(t.Context(), health.Options{Required: []health.Check{fake{"a", meet(a, b)}, fake{"b", meet(b, a)}}})
		if !r.Healthy {
			t.Errorf("got %+v", r)
		}
	})
}

func TestBrokenChecksFail(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		run        func(context.Context) error
	}{
		{"panic", "the check panicked: oh", func(context.Context) error { panic("oh") }},
		{"runtime error", "the check panicked: runtime error: index out of range", func(ctx context.Context) error {
			return []error{}[len(t.Name())]
		}},
		{"goexit", "ended without an answer", func(context.Context) error { runtime.Goexit(); return nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := health.Run(t.Context(), health.Options{Required: []health.Check{fake{"x", tt.run}, fake{"y", pass}}})
			if r.Healthy || !strings.Contains(r.Results[0].Error, tt.want) || !r.Results[1].Passed {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestTimeout(t *testing.T) {
	until := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for _, tt := range []struct {
		name string
		run  func(context.Context) error
		most time.Duration
	}{
		{"a check that heeds it", until, 3 * time.Second},
		{"a check that passes too late", func(ctx context.Context) error { <-ctx.Done(); return nil }, 3 * time.Second},
		{"a check that does not heed it", func(context.Context) error { time.Sleep(time.Hour); return nil }, 4 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				r := health.Run(t.Context(), health.Options{Required: []health.Check{fake{"x", tt.run}}, Timeout: 3 * time.Second})
				if took := time.Since(start); took < 3*time.Second || took > tt.most {
					t.Errorf("took %s", took)
				}
				if r.Healthy || !strings.Contains(r.Results[0].Error, "no answer within the check's timeout") {
					t.Errorf("got %+v", r)
				}
				time.Sleep(2 * time.Hour) // the bubble has to be empty at its end
			})
		})
	}
}

// A check that hangs for good must not be started again and again.
func TestStuckCheckIsNotStartedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		run := func(context.Context) error {
			calls++
			if calls == 1 {
				time.Sleep(95 * time.Second)
			}
			return nil
		}
		var log bytes.Buffer
		start := time.Now()
		r := health.Wait(t.Context(), health.Options{
			Required: []health.Check{fake{"x", run}},
			Timeout:  10 * time.Second, Interval: 10 * time.Second, Deadline: time.Hour,
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if !r.Healthy || calls != 2 || r.Rounds < 5 {
			t.Errorf("%d calls, %+v", calls, r)
		}
		if took := time.Since(start); took < 95*time.Second || took > 111*time.Second {
			t.Errorf("took %s", took)
		}
		if !strings.Contains(log.String(), "still stuck in the run that was started 21s ago") {
			t.Errorf("log: %s", log.String())
		}
	})
}

func TestWaitPassesInALaterRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, calls := onRound(fail, fail, pass)
		start := time.Now()
		r := health.Wait(t.Context(), health.Options{
			Required: []health.Check{fake{"x", run}}, Wanted: []health.Check{fake{"y", fail}}, Interval: 7 * time.Second,
		})
		if !r.Healthy || r.Rounds != 3 || *calls != 3 || time.Since(start) != 14*time.Second {
			t.Errorf("%d calls in %s: %+v", *calls, time.Since(start), r)
		}
	})
}

// Checks that take turns in passing never make a healthy node.
func TestWaitWantsAllInTheSameRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := onRound(fail, pass, fail, pass, fail)
		b, _ := onRound(pass, fail, pass, fail)
		r := health.Wait(t.Context(), health.Options{
			Required: []health.Check{fake{"a", a}, fake{"b", b}}, Interval: time.Second, Deadline: time.Minute,
		})
		if r.Healthy {
			t.Errorf("got %+v", r)
		}
	})
}

func TestWaitEndsAtTheDeadline(t *testing.T) {
	for _, tt := range []struct {
		name   string
		run    func(context.Context) error
		rounds int
		want   string
	}{
		{"between rounds", fail, 6, "no"},
		{"within a check", func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Hour):
				return nil
			}
		}, 1, "the deadline of the health gate has passed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				r := health.Wait(t.Context(), health.Options{
					Required: []health.Check{fake{"x", tt.run}},
					Interval: 10 * time.Second, Timeout: 2 * time.Hour, Deadline: 55 * time.Second,
				})
				if took := time.Since(start); took != 55*time.Second {
					t.Errorf("took %s", took)
				}
				if r.Healthy || r.Rounds != tt.rounds || !strings.Contains(r.Results[0].Error, tt.want) {
					t.Errorf("got %+v", r)
				}
			})
		})
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(12*time.Second, cancel)
		start := time.Now()
		r := health.Wait(ctx, health.Options{Required: []health.Check{fake{"x", fail}}, Interval: 5 * time.Second})
		if r.Healthy || r.Rounds != 3 || time.Since(start) != 12*time.Second {
			t.Errorf("after %s: %+v", time.Since(start), r)
		}
	})
}

func TestCancelledBeforeTheStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	hang := fake{"x", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
	for name, f := range map[string]func(context.Context, health.Options) health.Report{"Run": health.Run, "Wait": health.Wait} {
		if r := f(ctx, health.Options{Required: []health.Check{hang}}); r.Healthy || r.Rounds != 1 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := fake{"x", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		start := time.Now()
		health.Run(t.Context(), health.Options{Required: []health.Check{hang}})
		if time.Since(start) != health.DefaultTimeout {
			t.Errorf("Run took %s", time.Since(start))
		}
		start = time.Now()
		health.Wait(t.Context(), health.Options{Required: []health.Check{hang}})
		if time.Since(start) != health.DefaultDeadline {
			t.Errorf("Wait took %s", time.Since(start))
		}
	})
}
