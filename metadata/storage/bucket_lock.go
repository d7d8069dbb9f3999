package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// probe is the object that Lock tries conditions on.
const probe = WorkDir + "/probe"

// Lock takes no lock: a bucket has none that would end with the process that
// holds it. Two writers are kept apart by Create and Replace, which the server
// decides: one wins, and the other is told; see [Keeper].
//
// So much rests on that, that Lock first tries it. Some servers that speak S3's
// protocol ignore the conditions of a request: there, two writers would
// overwrite each other's work and never know. On those, Lock fails. It also
// fails at once where the credentials may not write.
func (b *Bucket) Lock(ctx context.Context) (func(), error) {
	if err := b.tryConditions(ctx); err != nil {
		return nil, err
	}
	return func() {}, nil
}

// tryConditions makes requests that must be refused.
func (b *Bucket) tryConditions(ctx context.Context) error {
	const content = "A server that keeps two writers apart replaces this file only on their conditions.\n"
	err := b.Create(ctx, probe, []byte(content))
	if err == nil { // it was not there; now it is
		err = b.Create(ctx, probe, []byte(content))
	}
	if err == nil {
		return b.ignored("If-None-Match")
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	err = b.Replace(ctx, probe, []byte(content), Info{Name: probe, Version: b.service.never})
	if err == nil {
		return b.ignored("If-Match")
	} else if !errors.Is(err, ErrChanged) {
		return err
	}
	return nil
}

func (b *Bucket) ignored(condition string) error {
	err := fmt.Errorf("the server ignores conditions (%s), so that two writers could overwrite each other; use another server or version of it, or a folder", condition)
	return &FileError{Op: "lock", Name: probe, Place: b.place, Err: err}
}
