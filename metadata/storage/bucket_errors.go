package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// fail returns the FileError for what a request ended with.
func (b *Bucket) fail(ctx context.Context, op, name string, err error) error {
	return &FileError{Op: op, Name: name, Place: b.place, Err: b.explain(ctx, op, err)}
}

func (b *Bucket) explain(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	status := b.service.status(err)
	switch {
	case b.service.noBucket(err):
		return fmt.Errorf("there is no such bucket: %w", plain(err))
	case gcerrors.Code(err) == gcerrors.NotFound || status == http.StatusNotFound:
		return fs.ErrNotExist
	case gcerrors.Code(err) == gcerrors.PermissionDenied || status == http.StatusForbidden || status == http.StatusUnauthorized:
		return fmt.Errorf("access denied: %s: %w", denied(op), plain(err))
	case status == http.StatusNotImplemented:
		return fmt.Errorf("the server cannot do conditional writes, which keep two writers apart: %w", plain(err))
	case status >= 500:
		return fmt.Errorf("the server failed, also when asked again; try later: %w", plain(err))
	case b.service.advice != nil:
		if advice := b.service.advice(err); advice != "" {
			return fmt.Errorf("%s: %w", advice, plain(err))
		}
	}
	return plain(err)
}

// unclear says that a write may have been done although it has failed: no
// answer came, or one that says nothing about it.
func (b *Bucket) unclear(ctx context.Context, err error) bool {
	status := b.service.status(err)
	return ctx.Err() == nil && (status == 0 || status >= 500)
}

// denied says what the credentials lack.
func denied(op string) string {
	switch op {
	case "open", "look at":
		return "the credentials may not read here (or the file is not there, and they may not list the bucket)"
	case "list":
		return "the credentials may not list here"
	case "remove":
		return "the credentials may not remove here"
	}
	return "the credentials may not write here"
}

// refused says that the server did not write because the condition did not
// hold.
func (b *Bucket) refused(err error, opts *blob.WriterOptions) bool {
	if b.service.noBucket(err) {
		return false
	}
	code, status := gcerrors.Code(err), b.service.status(err)
	// What is to be replaced may have been removed.
	gone := opts.BeforeWrite != nil && (code == gcerrors.NotFound || status == http.StatusNotFound)
	return code == gcerrors.FailedPrecondition || status == http.StatusPreconditionFailed || gone
}

// conflict says that the object is being written by somebody else just now.
func (b *Bucket) conflict(err error) bool {
	return gcerrors.Code(err) != gcerrors.FailedPrecondition && b.service.status(err) == http.StatusConflict
}

// plain takes gocloud.dev's own words off an error: they repeat the name.
func plain(err error) error {
	var wrapper interface{ Unwrap() []error }
	if errors.As(err, &wrapper) && strings.HasPrefix(err.Error(), "blob (") {
		if inner := wrapper.Unwrap(); len(inner) > 0 && inner[0] != nil {
			return inner[0]
		}
	}
	return err
}
