package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

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
	_, err := c.DownloadDelta(ctx, a, Delta{}, have, w, progress)
	return err
}

// newDownload looks an artifact up.
func (c *Client) newDownload(ctx context.Context, a metadata.Artifact) (*download, error) {
	info, err := c.lookupArtifact(ctx, a)
	if err != nil {
		return nil, missing(err, "artifact", "The release names a file that the repository does not have (any more): its owner publishes again.")
	}
	return &download{
		Client: c, name: a.Target, path: c.targetPath(a.Target, info), length: info.Length,
		verifier: newVerifier(a.Target, info), buf: make([]byte, copyBuffer),
	}, nil
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
	ready      *content // an answer that is there already for the next attempt

	requests, fetched atomic.Int64 // requests made, and bytes that came of the artifact
}

// open asks for a part of the artifact.
func (d *download) open(ctx context.Context, offset, end int64) (*content, error) {
	d.requests.Add(1)
	answer, err := d.source.open(ctx, d.path, offset, end)
	if err != nil {
		return nil, err
	}
	if answer.total >= 0 && answer.total != d.length {
		answer.body.Close()
		return nil, badLength(d.name, answer.total, d.length)
	}
	answer.body = counted{d.limit.body(ctx, answer.body), &d.fetched}
	return answer, nil
}

// counted adds up what is read.
type counted struct {
	io.ReadCloser
	sum *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.sum.Add(int64(n))
	return n, err
}

// resume hashes the bytes that the caller holds, and shows them to more.
func (d *download) resume(have io.Reader, more io.Writer) error {
	n, err := io.CopyBuffer(io.MultiWriter(d.verifier, more), io.LimitReader(have, d.length+1), d.buf)
	var wrong *VerificationError
	if errors.As(err, &wrong) {
		return wrong
	}
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
	answer, err := d.ready, error(nil)
	d.ready = nil
	if answer == nil {
		offset := d.done
		if d.whole {
			offset = 0
		}
		answer, err = d.open(ctx, offset, toEnd)
	}
	if err != nil {
		return err
	}
	defer answer.body.Close()
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

// lender is a sink that lends the memory that it writes from, as bufio.Writer
// does: what is read straight into it need not be copied.
type lender interface {
	AvailableBuffer() []byte
}

// room returns where to read the next bytes to.
func (d *download) room() []byte {
	if l, ok := d.w.(lender); ok {
		if b := l.AvailableBuffer(); cap(b) > 0 {
			return b[:cap(b)]
		}
	}
	return d.buf
}

// copy hashes and writes the rest, never more than was signed.
func (d *download) copy(body io.Reader) error {
	for {
		buf := d.room()
		n, err := body.Read(buf)
		if int64(n) > d.length-d.done {
			return &VerificationError{
				Reason: ReasonBadLength, Advice: adviceTampered,
				Err: fmt.Errorf("%s: the server sends more than the signed %d bytes", d.name, d.length),
			}
		}
		if n > 0 {
			if err := d.put(buf[:n]); err != nil {
				return err
			}
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

// put hashes and writes the next bytes, in this order: a writer that lends its
// buffers has them back after that.
func (d *download) put(data []byte) error {
	_, _ = d.verifier.Write(data) // never fails
	if _, err := d.w.Write(data); err != nil {
		return fmt.Errorf("%s: write: %w", d.name, err)
	}
	d.done += int64(len(data))
	d.report()
	return nil
}
