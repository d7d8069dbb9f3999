package client

import (
	"context"
	"fmt"

	"tufboot/metadata"
)

// Probe asks the server whether it has an artifact, before anything is given up for
// it. Refresh must have succeeded before. Nil: the server has it, in its signed length
// as far as it says. The error is otherwise that which Download would meet, be it the
// network's.
//
// It asks for the first byte. Where that is answered in another way, by a server that
// gives no parts, it asks for all of it, as Download does, and hangs up.
func (c *Client) Probe(ctx context.Context, a metadata.Artifact) error {
	d, err := c.newDownload(ctx, a)
	if err != nil {
		return err
	}
	err = c.again(ctx, d.path, func() error { return d.probe(ctx, 1) })
	if err != nil && !isTransient(err) && ctx.Err() == nil {
		err = c.again(ctx, d.path, func() error { return d.probe(ctx, toEnd) })
	}
	if err != nil {
		return fmt.Errorf("%s: %w", a.Target, err)
	}
	return nil
}

// probe asks for the artifact up to byte end, and looks at the head of the answer.
func (d *download) probe(ctx context.Context, end int64) error {
	answer, err := d.open(ctx, 0, end)
	if err != nil {
		return err
	}
	defer answer.body.Close()
	if answer.part {
		// Read to its end, an answer leaves the connection for the next request.
		_, _ = answer.body.Read(d.buf[:1])
	}
	return nil
}
