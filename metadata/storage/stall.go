package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// errStalled ends a request to a server that no longer answers.
var errStalled = errors.New("the server does not answer")

// watch ends a context when nothing has happened for a while. A server that
// accepts a connection and then says nothing would otherwise hold a command
// for ever: neither net/http nor the object stores' clients set a limit.
type watch struct {
	limit  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

func newWatch(ctx context.Context, limit time.Duration) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{limit: limit, cancel: cancel}
	w.timer = time.AfterFunc(limit, func() { cancel(fmt.Errorf("%w (nothing for %v)", errStalled, limit)) })
	return ctx, w
}

// progress says that something has happened.
func (w *watch) progress() { w.timer.Reset(w.limit) }

// pause stops the clock: it is now the caller who takes the time.
func (w *watch) pause() { w.timer.Stop() }

// end frees the context.
func (w *watch) end() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// cause returns why ctx has ended instead of err, which then only says that it
// has.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// watchedBody is a server's answer. Only the time spent in Read counts.
type watchedBody struct {
	ctx   context.Context
	watch *watch
	body  io.ReadCloser
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.watch.progress()
	n, err := b.body.Read(p)
	b.watch.pause()
	if err != nil && !errors.Is(err, io.EOF) {
		err = plain(cause(b.ctx, err))
	}
	return n, err
}

func (b *watchedBody) Close() error {
	b.watch.end()
	return b.body.Close()
}
