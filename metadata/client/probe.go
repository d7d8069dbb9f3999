package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"tufboot/metadata"
)

// Probe asks the server whether it has an artifact, before anything is given up for
// it: for its first byte, since what answers a download answers that. Refresh must
// have succeeded before. Nil: the server has it, in its signed length, or does not
// tell. The error is otherwise that which Download would meet, be it the network's.
func (c *Client) Probe(ctx context.Context, a metadata.Artifact) error {
	d, err := c.newDownload(ctx, a)
	if err != nil {
		return err
	}
	return c.again(ctx, d.path, func() error {
		answer, err := c.source.open(ctx, d.path, 0, 1)
		if errors.Is(err, errNoRange) || unwilling(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", a.Target, err)
		}
		defer answer.body.Close()
		if !answer.part && answer.total == 1 {
			return nil // some proxies call a part the whole: says nothing of the length
		}
		if answer.total >= 0 && answer.total != d.length {
			return badLength(a.Target, answer.total, d.length)
		}
		if answer.part {
			// Read to its end, an answer leaves the connection for the next request.
			_, _ = answer.body.Read(make([]byte, 1))
		}
		return nil
	})
}

// unwilling reports whether the server refuses the kind of request.
func unwilling(err error) bool {
	var n *NetworkError
	return errors.As(err, &n) && (n.Status == http.StatusMethodNotAllowed || n.Status == http.StatusNotImplemented)
}
