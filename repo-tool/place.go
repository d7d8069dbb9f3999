package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata/storage"
)

// openStore returns the store at the place that a flag names. Nothing is read
// yet, so that an error means that no such place can be: wrong usage.
func openStore(c *cli.Context, flag string) (storage.Store, error) {
	store, err := storage.Open(c.Context, c.String(flag))
	return store, badPlace(c.Context, "--"+flag, err)
}

// openReader is openStore for what is only read.
func openReader(c *cli.Context, flag string) (storage.Reader, error) {
	return openReaderAt(c.Context, "--"+flag, c.String(flag))
}

// openReaderAt is openReader for a place that an argument names.
func openReaderAt(ctx context.Context, what, place string) (storage.Reader, error) {
	reader, err := storage.OpenReader(ctx, place)
	return reader, badPlace(ctx, what, err)
}

func badPlace(ctx context.Context, what string, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	return &console.UsageError{Err: fmt.Errorf("%s: %w", what, err)}
}
