package update

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"tufboot/agent/health"
	"tufboot/grub"
)

// Verdict is what the health gate decided.
type Verdict string

const (
	// VerdictCommitted means that the trial was healthy and is marked good.
	VerdictCommitted Verdict = "committed"
	// VerdictFailed means that the trial is unhealthy; a reboot makes GRUB count.
	VerdictFailed Verdict = "failed"
	// VerdictNoTrial means that nothing is on trial; the health is only reported.
	VerdictNoTrial Verdict = "no-trial"
	// VerdictUndecided means that a trial could not be judged: GRUB did not do
	// what was armed, or the gate was interrupted.
	VerdictUndecided Verdict = "undecided"
	// VerdictNone means that only a report was asked for.
	VerdictNone Verdict = "none"
)

// GateReport is the outcome of HealthCheck.
type GateReport struct {
	Verdict   Verdict       `json:"verdict"`
	Situation Situation     `json:"situation,omitempty"`
	Slot      grub.Slot     `json:"slot,omitempty"`
	Health    health.Report `json:"health"`
}

// UnhealthyError says which required checks failed. The process ends with exit
// code 5.
type UnhealthyError struct {
	Failed  []string // "name: error"
	Verdict Verdict  // what follows from it
}

func (e *UnhealthyError) Error() string {
	return "unhealthy: " + strings.Join(e.Failed, "; ")
}

// ExitCode returns the exit code for a node that is not healthy.
func (e *UnhealthyError) ExitCode() int { return 5 }

// ReasonCode returns the stable reason code.
func (e *UnhealthyError) ReasonCode() string { return "unhealthy" }

// Hint says what happens next.
func (e *UnhealthyError) Hint() string {
	switch e.Verdict {
	case VerdictFailed:
		return "the release is on trial: reboot the node, and GRUB tries it again or rolls back; `agent rollback` gives it up at once"
	case VerdictNoTrial:
		return "the release is committed, so nothing is rolled back by itself; mend what failed, or go back with `agent rollback`"
	}
	return ""
}

// HealthCheck runs the checks by means of run and, if the booted slot is on
// trial, decides the trial: healthy marks it good, unhealthy is returned as an
// UnhealthyError. lock is called around what changes the node, and not while
// the checks run, so that a slow gate stops nobody else from looking.
func (n *Node) HealthCheck(ctx context.Context, lock func() (*Lock, error), run func(context.Context) health.Report) (GateReport, error) {
	situation, facts, err := n.settleLocked(ctx, lock)
	if err != nil {
		return GateReport{}, err
	}
	r := GateReport{Verdict: VerdictNoTrial, Situation: situation, Slot: facts.Booted.Slot}
	if situation == SituationMismatch || situation == SituationTrial {
		r.Verdict = VerdictUndecided
	}
	if situation == SituationMismatch {
		// A reboot would not be counted: rather stay and raise the alarm than
		// go round for ever.
		return r, facts.refusal(situation)
	}
	r.Health = run(ctx)
	if situation == SituationCommitted {
		// A crash may have kept decide from its last step.
		if err := n.refreshLastGood(facts.Block.Active); err != nil {
			n.Logger.Warn("last-good cannot be refreshed", "error", err)
		}
	}
	if situation != SituationTrial {
		return r, unhealthy(r.Health, VerdictNoTrial)
	}
	if err := ctx.Err(); err != nil && !r.Health.Healthy {
		return r, fmt.Errorf("the health gate was interrupted before it decided: %w", err)
	}
	err = n.decide(lock, facts, r.Health)
	var bad *UnhealthyError
	switch {
	case err == nil:
		r.Verdict = VerdictCommitted
	case errors.As(err, &bad):
		r.Verdict = VerdictFailed
	}
	return r, err
}

// ReportHealth runs the checks by means of run and decides nothing.
func ReportHealth(ctx context.Context, run func(context.Context) health.Report) (GateReport, error) {
	r := GateReport{Verdict: VerdictNone, Health: run(ctx)}
	return r, unhealthy(r.Health, VerdictNone)
}

func (n *Node) settleLocked(ctx context.Context, lock func() (*Lock, error)) (Situation, Facts, error) {
	l, err := lock()
	if err != nil {
		return "", Facts{}, err
	}
	defer l.Release()
	_, f, situation, err := n.settle(ctx)
	return situation, f, err
}

// decide marks the trial good or notes why it is not.
func (n *Node) decide(lock func() (*Lock, error), judged Facts, h health.Report) error {
	l, err := lock()
	if err != nil {
		return err
	}
	defer l.Release()
	if bad := unhealthy(h, VerdictFailed); bad != nil {
		return errors.Join(bad, n.noteUnhealthy(bad))
	}
	slot := judged.Booted.Slot
	err = n.changeBlock(fmt.Sprintf("mark slot %s good", slot), func(b grub.State) (grub.State, error) {
		if b.Success && b.Active == slot {
			return b, nil // another gate was faster
		}
		given := judged.Block
		given.Counter++ // the machine is being shut down, and the gate was faster
		if b != judged.Block && b != given {
			return b, errors.New("the environment block changed while the health checks ran; the trial is not decided")
		}
		return b.MarkGood()
	})
	if err != nil {
		return err
	}
	// The machine is committed, and a failure from here on does not change that:
	// the next run settles what is left.
	if err := n.cleanUp(slot); err != nil {
		n.Logger.Warn("the release is committed, but the agent could not clean up behind the trial", "error", err)
	}
	return nil
}

// cleanUp refreshes last-good and forgets the trial that is over.
func (n *Node) cleanUp(committed grub.Slot) error {
	if err := n.refreshLastGood(committed); err != nil {
		return err
	}
	s, err := LoadState(n.StateDir, n.Logger)
	if err != nil {
		return err
	}
	s = s.forget(n.slotRelease(committed).ID)
	s.Trial, s.Staged = nil, nil
	return s.Save(n.StateDir)
}

// noteUnhealthy writes down why the trial fails, for after the rollback.
func (n *Node) noteUnhealthy(why error) error {
	s, err := LoadState(n.StateDir, n.Logger)
	if err != nil || s.Trial == nil {
		return err
	}
	s.Trial.Unhealthy = strings.TrimPrefix(why.Error(), "unhealthy: ")
	return s.Save(n.StateDir)
}

// unhealthy returns an UnhealthyError that names the required checks that
// failed, or nil.
func unhealthy(h health.Report, v Verdict) error {
	if h.Healthy {
		return nil
	}
	e := &UnhealthyError{Verdict: v}
	for _, r := range h.Failed() {
		e.Failed = append(e.Failed, r.Name+": "+r.Error)
	}
	return e
}
