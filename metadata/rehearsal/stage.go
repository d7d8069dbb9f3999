package rehearsal

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// stage is a repository as readers see it at one moment.
type stage struct {
	from      storage.Reader
	name      string // for people
	timestamp []byte
	roots     [][]byte
	// channels returns the channels. Its errors are those of the store, or say
	// why the channels cannot be told.
	channels func() ([]repository.PublishedChannel, error)
	// passing says that only root.json has changed yet, and the rest follows
	// within a moment.
	passing bool
	now     time.Time // that nodes judge expiry by
	want    *visit    // of a new node; nil: it fails, and that is no regression
}

func newStage(ctx context.Context, from storage.Reader, now time.Time) (*stage, error) {
	s := &stage{from: newCached(from), now: now}
	var err error
	if s.roots, err = repository.ReadRoots(ctx, s.from); err != nil {
		return nil, err
	}
	if s.timestamp, err = repository.ReadTimestamp(ctx, s.from); err != nil {
		return nil, err
	}
	version := repository.Past{Timestamp: s.timestamp}.Version()
	s.name = fmt.Sprintf("timestamp version %d under root version %d", version, len(s.roots))
	s.channels = sync.OnceValues(func() ([]repository.PublishedChannel, error) {
		return repository.ReadChannels(ctx, s.from)
	})
	return s, nil
}

// known returns the channels, none where they cannot be told.
func (s *stage) known() ([]repository.PublishedChannel, error) {
	channels, err := s.channels()
	if isRefusal(err) {
		return nil, nil
	}
	return channels, err
}

// differs returns what a node finds at the stage otherwise than it should. It is
// asked only where it holds other metadata than a new node: with the same it
// finds the same.
func (s *stage) differs(ctx context.Context, v *visit) error {
	if v.holds == s.want.holds {
		return nil
	}
	if err := v.holds.isNot(s.want.holds); err != nil {
		return err
	}
	channels, err := s.known()
	if err == nil {
		err = v.ask(ctx, channels, false)
	}
	if err != nil {
		return &storeError{err}
	}
	for p, f := range s.want.releases {
		if f.err != nil {
			continue // judged already
		}
		if err := v.releases[p].err; err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// storeError is an error that is no verdict on the repository.
type storeError struct{ error }

func (e *storeError) Unwrap() error { return e.error }
