package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// errSource is in the chain of errors of reading what is to be imported.
var errSource = errors.New("cannot be imported")

// hashAll returns the hex SHA-256 and the length of what open gives.
func hashAll(ctx context.Context, open func() (io.ReadCloser, error)) (string, int64, error) {
	r, err := open()
	if err != nil {
		return "", 0, err
	}
	defer r.Close()
	return CopyHashed(ctx, io.Discard, r)
}

// sameReader reads what has been hashed before, and fails at the end, or before
// it, if it is not the same: an upload that is fed by it then fails too.
type sameReader struct {
	r     io.Reader
	watch *watch
	hash  hash.Hash
	sum   string
	left  int64
	done  bool  // the end was reached, and all was right
	err   error // why not
}

func newSameReader(r io.Reader, sum string, length int64, w *watch) *sameReader {
	return &sameReader{r: r, watch: w, hash: sha256.New(), sum: sum, left: length}
}

func (s *sameReader) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	s.watch.progress()
	n, err := s.r.Read(p)
	s.hash.Write(p[:n])
	s.left -= int64(n)
	end := errors.Is(err, io.EOF)
	switch {
	case err != nil && !end:
		s.err = fmt.Errorf("%w: %w", errSource, err)
	case s.left < 0, end && (s.left > 0 || hex.EncodeToString(s.hash.Sum(nil)) != s.sum):
		s.err = fmt.Errorf("%w: it has changed while it was read", errSource)
	case end:
		s.done = true
	}
	if s.err != nil {
		// Some uploads end well when their source ends badly; none does when
		// its context has ended.
		s.watch.cancel(s.err)
		return 0, s.err
	}
	return n, err
}
