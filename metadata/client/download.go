package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"tufboot/metadata"
)

const (
	copyBuffer = 128 << 10
	// enoughProgress is how many bytes an attempt must bring for the count of
	// failures to start over.
	enoughProgress = 64 << 10
)

// Download writes an artifact's bytes to w, verified against the signed
// metadata, in constant memory. Refresh must have succeeded before.
//
// have, unless nil, gives the bytes that the caller already holds of it. They
// are hashed first, and only the rest is fetched and written. Transient failures
// are tried again from where they stopped. progress, unless nil, is told the
// number of bytes held.
//
// The bytes must not be used before Download has returned nil: the hash is known
// at the end only. If an error has ErrHave in its chain, what the caller held
// may be to blame: start over without it once.
func (c *Client) Download(ctx context.Context, a metadata.Artifact, have io.Reader, w io.Writer, progress func(done int64)) error {
	info, err := c.lookupArtifact(ctx, a)
	if err != nil {
		return missing(err, "artifact", "The release names a file that the repository does not have (any more): its owner publishes again.")
	}
	d := &download{
		Client: c, name: a.Target, path: c.targetPath(a.Target, info), length: info.Length,
		verifier: newVerifier(a.Target, info), w: w, progress: progress, buf: make([]byte, copyBuffer),
	}
	if have != nil {
		if err := d.resume(contextReader{ctx, have}); err != nil {
			return err
		}
	}
	err = d.run(ctx)
	var failed *VerificationError
	if d.held > 0 && errors.As(err, &failed) {
		failed.Err = fmt.Errorf("%w (%w)", failed.Err, ErrHave)
	}
	return err
}

// download is one artifact on its way.
type download struct {
	*Client
	name, path string
	length     int64
	verifier   *verifier
	held       int64 // bytes that the caller had
	done       int64 // bytes hashed: held ones and written ones
	whole      bool  // the server does not give parts
	w          io.Writer
	progress   func(int64)
	buf        []byte
}

// resume hashes the bytes that the caller holds.
func (d *download) resume(have io.Reader) error {
	n, err := io.CopyBuffer(d.verifier, io.LimitReader(have, d.length+1), d.buf)
	if err != nil {
		return fmt.Errorf("%s: read what is held of it: %w", d.name, err)
	}
	if n > d.length {
		return &VerificationError{
			Reason: ReasonBadLength, Advice: adviceTampered,
			Err: fmt.Errorf("%s: more than the signed %d bytes are held (%w)", d.name, d.length, ErrHave),
		}
	}
	d.held, d.done = n, n
	d.report()
	return nil
}

func (d *download) report() {
	if d.progress != nil {
		d.progress(d.done)
	}
}

// run fetches until the artifact is complete, and verifies it.
func (d *download) run(ctx context.Context) error {
	for failures := 0; d.done < d.length; {
		before := d.done
		err := d.attempt(ctx)
		if err == nil || d.done == d.length && isTransient(err) {
			break // all bytes are there, whatever the server did then
		}
		if errors.Is(err, errNoRange) && !d.whole {
			d.whole = true // ask for all of it and skip what is held
			continue
		}
		if d.done-before >= enoughProgress {
			failures = 0
		}
		failures++
		if !isTransient(err) && !errors.Is(err, errShort) || failures >= d.retry.tries {
			return d.final(err)
		}
		d.log.Info("download interrupted; going on", "file", d.name, "at", d.done, "of", d.length, "error", err)
		if err := d.retry.wait(ctx, failures, err); err != nil {
			return err
		}
	}
	return d.verifier.verify()
}

// errShort says that an answer ended early although its end looked regular. A
// proxy that was cut off looks the same as a file that is too short.
var errShort = errors.New("the answer ended early")

// final gives the last error its meaning.
func (d *download) final(err error) error {
	if errors.Is(err, errShort) || errors.Is(err, errNoRange) {
		return badLength(d.name, d.done, d.length)
	}
	return err
}

// attempt makes one request and copies what comes.
func (d *download) attempt(ctx context.Context) error {
	offset := d.done
	if d.whole {
		offset = 0
	}
	answer, err := d.source.open(ctx, d.path, offset, toEnd)
	if err != nil {
		return err
	}
	defer answer.body.Close()
	if answer.total >= 0 && answer.total != d.length {
		return badLength(d.name, answer.total, d.length)
	}
	if answer.start == 0 && d.done > 0 {
		if err := d.skip(answer.body); err != nil {
			return err
		}
	}
	return d.copy(answer.body)
}

// skip reads past the bytes that are already held, and checks that the server
// has the same ones.
func (d *download) skip(body io.Reader) error {
	same := sha256.New()
	n, err := io.CopyBuffer(same, io.LimitReader(body, d.done), d.buf)
	if err != nil {
		return err
	}
	if n < d.done {
		return errShort
	}
	if !bytes.Equal(same.Sum(nil), d.verifier.hashes["sha256"].Sum(nil)) {
		return &VerificationError{
			Reason: ReasonBadHash, Advice: adviceTampered,
			Err: fmt.Errorf("%s: the server's first %d bytes are not the ones that are held", d.name, d.done),
		}
	}
	return nil
}

// copy hashes and writes the rest, never more than was signed.
func (d *download) copy(body io.Reader) error {
	for {
		n, err := body.Read(d.buf)
		if int64(n) > d.length-d.done {
			return &VerificationError{
				Reason: ReasonBadLength, Advice: adviceTampered,
				Err: fmt.Errorf("%s: the server sends more than the signed %d bytes", d.name, d.length),
			}
		}
		if n > 0 {
			if _, err := d.w.Write(d.buf[:n]); err != nil {
				return fmt.Errorf("%s: write: %w", d.name, err)
			}
			_, _ = d.verifier.Write(d.buf[:n]) // never fails
			d.done += int64(n)
			d.report()
		}
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			return err
		case d.done < d.length:
			return errShort
		default:
			return nil
		}
	}
}
