package storagetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"testing"

	"tufboot/metadata/storage"
)

// noise returns bytes that cannot be compressed and are always the same.
func noise(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	return data
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func targetName(sum string) string { return "targets/" + sum + ".vmlinuz" }

func testImport(t *testing.T, place Place) {
	s := place()
	for _, size := range []int{0, 1, 100_000, 8 << 20, 16 << 20, 20 << 20} {
		data := noise(size)
		name := targetName(hexSum(data))
		for range 2 { // the second time it is there
			sum, length, err := s.Import(t.Context(), storage.Bytes(data), targetName)
			noError(t, err)
			if sum != hexSum(data) || length != int64(size) {
				t.Errorf("imported %d bytes with %s", length, sum)
			}
			wantContent(t, s, name, string(data))
		}
	}
	first := wantContent(t, s, targetName(hexSum(nil)), "")
	_, _, err := s.Import(t.Context(), storage.Bytes(nil), targetName)
	noError(t, err)
	if again := wantContent(t, s, first.Name, ""); !again.Modified.Equal(first.Modified) {
		t.Error("what was there has been written again")
	}

	broken := targetName(hexSum([]byte("whole")))
	noError(t, s.Create(t.Context(), broken, []byte("who")))
	_, _, err = s.Import(t.Context(), storage.Bytes([]byte("whole")), targetName)
	noError(t, err)
	wantContent(t, s, broken, "whole")
}

// testImportChanging gives other bytes the second time. A store that reads twice
// has to see it; one that reads once has stored what it has hashed.
func testImportChanging(t *testing.T, place Place) {
	large := noise(20 << 20)
	for _, second := range [][]byte{
		nil, []byte("x"), []byte("seconD"), []byte("second and more"), large[1:], append([]byte{0}, large[1:]...),
	} {
		s := place()
		first := []byte("second")
		if len(second) > 100 {
			first = large
		}
		opened := 0
		_, _, err := s.Import(t.Context(), func() (io.ReadCloser, error) {
			if opened++; opened > 1 {
				return storage.Bytes(second)()
			}
			return storage.Bytes(first)()
		}, targetName)
		name := targetName(hexSum(first))
		if err == nil && opened == 1 {
			wantContent(t, s, name, string(first))
			noError(t, s.Remove(t.Context(), name))
			continue
		}
		if err == nil {
			t.Error("nobody has seen that it has changed")
		}
		wantNames(t, s, "")
	}
}

var errBroken = errors.New("the disk is broken")

// hookReader calls hook when it has given the first at bytes, and goes on if
// that returns nil.
type hookReader struct {
	*bytes.Reader
	at   int
	hook func() error
}

func (h *hookReader) Read(p []byte) (int, error) {
	before := h.at - (int(h.Size()) - h.Len())
	if before == 0 {
		h.at = -1
		if err := h.hook(); err != nil {
			return 0, err
		}
	} else if before > 0 {
		p = p[:min(len(p), before)]
	}
	return h.Reader.Read(p)
}

func (h *hookReader) Close() error { return nil }

// testImportUnreadable has a source that fails half way, the first time or the
// second, in the first piece of an upload or in a later one.
func testImportUnreadable(t *testing.T, place Place) {
	data := noise(40 << 20)
	s := place()
	for failing := 1; failing <= 2; failing++ {
		for _, good := range []int{0, 5, len(data) - 1, len(data)} {
			opened := 0
			_, _, err := s.Import(t.Context(), func() (io.ReadCloser, error) {
				if opened++; opened == failing {
					return &hookReader{bytes.NewReader(data), good, func() error { return errBroken }}, nil
				}
				return storage.Bytes(data)()
			}, targetName)
			if opened < failing {
				noError(t, s.Remove(t.Context(), targetName(hexSum(data))))
				continue
			}
			wantError(t, err, errBroken)
			wantNames(t, s, "")
		}
	}
}

// testUnfinished looks at the store when all bytes of a file have been read and
// its end has not.
func testUnfinished(t *testing.T, place Place) {
	data := noise(20 << 20)
	name := targetName(hexSum(data))
	s := place()
	looks := 0
	_, _, err := s.Import(t.Context(), func() (io.ReadCloser, error) {
		return &hookReader{bytes.NewReader(data), len(data), func() error {
			looks++
			wantNames(t, place(), "")
			_, _, err := place().Open(t.Context(), name)
			wantError(t, err, fs.ErrNotExist)
			return nil
		}}, nil
	}, targetName)
	noError(t, err)
	if looks == 0 {
		t.Error("never looked")
	}
	wantNames(t, s, "", name)
}

func testCancelled(t *testing.T, place Place) {
	s := place()
	noError(t, s.Create(t.Context(), "old.json", []byte("old")))
	old := wantContent(t, s, "old.json", "old")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, s.Create(ctx, "new.json", []byte("new")), context.Canceled)
	wantError(t, s.Replace(ctx, "old.json", []byte("new"), old), context.Canceled)
	_, _, err := s.Import(ctx, storage.Bytes([]byte("new")), targetName)
	wantError(t, err, context.Canceled)
	for _, err := range s.List(ctx, "") {
		wantError(t, err, context.Canceled)
	}

	data := noise(40 << 20)
	for cancelled := 1; cancelled <= 2; cancelled++ { // in the first reading, in the second
		ctx, cancel := context.WithCancel(t.Context())
		opened := 0
		_, _, err := s.Import(ctx, func() (io.ReadCloser, error) {
			opened++
			now := opened == cancelled
			return &hookReader{bytes.NewReader(data), len(data) / 2, func() error {
				if now {
					cancel()
				}
				return nil
			}}, nil
		}, targetName)
		cancel()
		if opened < cancelled {
			continue
		}
		wantError(t, err, context.Canceled)
		wantNames(t, s, "", "old.json")
	}
	wantContent(t, s, "old.json", "old")
}
