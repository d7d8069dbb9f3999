package initramfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// verify reads what was packed and compares it with what should be in it.
func (p *packer) verify(ctx context.Context, packed io.ReaderAt, r *Result) error {
	got, err := unpack(ctx, packed, r.Out, io.Discard, p.opts.step("verifying", r.Out))
	if err != nil {
		return fmt.Errorf("what was packed cannot be read: %w", err)
	}
	if got.early != p.contents.early {
		return fmt.Errorf("the early archive has become %d bytes, and was %d", got.early, p.contents.early)
	}
	before, err := hashOf(p.in, got.early)
	if err != nil {
		return err
	}
	after, err := hashOf(packed, got.early)
	if err != nil {
		return err
	}
	if before != after {
		return errors.New("the early archive has changed")
	}
	renumber(got.entries)
	return sameEntries(p.contents.entries, got.entries)
}

// sameEntries says where two renumbered lists differ.
func sameEntries(want, got []entry) error {
	for i := range min(len(want), len(got)) {
		a, b := &want[i], &got[i]
		if a.sum != b.sum || !bytes.Equal(a.append(nil), b.append(nil)) {
			return fmt.Errorf("%q has changed", a.Name)
		}
	}
	if len(want) != len(got) {
		return fmt.Errorf("there are %d entries, and were %d", len(got), len(want))
	}
	return nil
}

// hashOf returns the SHA-256 of the first n bytes.
func hashOf(in io.ReaderAt, n int64) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	_, err = io.Copy(h, io.NewSectionReader(in, 0, n))
	h.Sum(sum[:0])
	return sum, err
}
