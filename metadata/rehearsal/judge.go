package rehearsal

import (
	"context"
	"errors"
	"fmt"

	"tufboot/metadata/client"
	"tufboot/metadata/repository"
)

// tryFirst lets a new node with the given root look at a stage, and sets what all
// others must find.
func (r *rehearsal) tryFirst(ctx context.Context, s *stage, name string, root []byte) error {
	n, remove := r.node(name, root)
	defer remove()
	v, err := n.refresh(ctx, s.from, s.now)
	if err == nil {
		return r.askFirst(ctx, s, name, v)
	}
	if !isRefusal(err) {
		return err
	}
	if s.passing && passes(err) {
		r.log.Info("nodes that read between two writes fail once", "at", s.name, "cause", err)
		return nil
	}
	if isExpired(err) && r.before != nil && !s.now.Equal(epoch()) {
		before, beforeErr := r.before()
		if beforeErr != nil {
			return beforeErr
		}
		if isExpired(before.err) {
			r.log.Warn("nodes refuse the repository before and after this: something else has expired", "cause", err)
			s.now = epoch() // everything else is judged as ever
			return r.tryFirst(ctx, s, name, root)
		}
	}
	return r.refusal(name, s, err)
}

// askFirst looks whether every channel can be resolved that could be before.
func (r *rehearsal) askFirst(ctx context.Context, s *stage, node string, v *visit) error {
	channels, err := s.channels()
	if isRefusal(err) {
		return r.refusal(node, s, err)
	}
	if err == nil {
		err = v.ask(ctx, channels, true)
	}
	if err != nil {
		return err
	}
	s.want = v
	for p, f := range v.releases {
		if f.err == nil {
			continue
		}
		if r.before != nil {
			before, err := r.before()
			if err != nil {
				return err
			}
			if before.failed(p, f) {
				r.log.Warn("a channel does not lead to a release, before and after this", "channel", p.channel, "arch", p.arch, "cause", f.err)
				continue
			}
		}
		return r.refusal(node, s, fmt.Errorf("%s: %w", p, f.err))
	}
	return nil
}

// judge looks at what a node found that is not the first.
func (r *rehearsal) judge(ctx context.Context, n *node, s *stage, v *visit, err error) error {
	if err == nil && s.want != nil {
		err = s.differs(ctx, v)
	}
	if err == nil {
		err = v.holds.goesBack(n.held)
		n.held = v.holds
	}
	var store *storeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &store):
		return store.error
	case v == nil && !isRefusal(err):
		return err
	case s.want == nil && passes(err):
		return nil
	}
	return r.refusal(n.name, s, err)
}

// outcome is what a new node finds.
type outcome struct {
	visit *visit // nil: it refuses it; where it has expired: as if it had not
	err   error  // why
}

// lookBefore finds out what new nodes find in what is published now.
func (r *rehearsal) lookBefore(ctx context.Context, first *stage, now repository.Past) (*outcome, error) {
	s, err := newStage(ctx, repository.AsOf(first.from, now), r.now)
	if err != nil {
		return nil, err
	}
	channels, err := s.known()
	if err != nil {
		return nil, err
	}
	n, remove := r.node("a new node", s.roots[0])
	defer remove()
	v, err := n.look(ctx, s.from, s.now, channels, true)
	if err != nil && !isRefusal(err) {
		return nil, err
	}
	if isExpired(err) {
		again, remove := r.node("a new node", s.roots[0])
		defer remove()
		var otherErr error
		if v, otherErr = again.look(ctx, s.from, epoch(), channels, true); otherErr != nil && !isRefusal(otherErr) {
			return nil, otherErr
		}
	}
	return &outcome{v, err}, nil
}

// failed reports whether a channel that points to the same release could not be
// resolved already: also because everything had expired, and the channel's own
// role, whose key is not here, still has.
func (o *outcome) failed(p pointer, now found) bool {
	if o.visit == nil {
		return false
	}
	was, ok := o.visit.releases[p]
	return ok && was.id == now.id && (was.err != nil || isExpired(o.err) && isExpired(now.err))
}

func (r *rehearsal) refusal(node string, s *stage, err error) error {
	if r.clock != "" && isExpired(err) {
		err = fmt.Errorf("%s: %w", r.clock, err)
	}
	return &RefusalError{node, s.name, err}
}

// isRefusal reports whether an error says something about the repository; others
// say that it could not be looked at.
func isRefusal(err error) bool {
	var verification *client.VerificationError
	var invalid *repository.InvalidError
	if errors.As(err, &verification) || errors.As(err, &invalid) {
		return true
	}
	var refused *repository.RefusedError // between a new root and what follows it
	return errors.As(err, &refused) && refused.Reason == repository.ReasonUnfinished
}

func reasonOf(err error) string {
	var v *client.VerificationError
	if errors.As(err, &v) {
		return v.Reason
	}
	return ""
}

func isExpired(err error) bool { return reasonOf(err) == client.ReasonExpired }

// passes reports whether an error may be due to a new root alone: what is
// published still is signed by the old keys, or has expired.
func passes(err error) bool {
	switch reasonOf(err) {
	case client.ReasonBadSignature, client.ReasonWrongRoot, client.ReasonExpired:
		return true
	}
	return false
}
