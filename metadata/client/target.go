package client

import (
	"context"
	"encoding/hex"

	"tufboot/metadata"
)

// Target returns what the signed metadata says of a target with the given name,
// for Download. Refresh must have succeeded before. ErrNotFound: there is no such
// target. An agent does not need it: its release says what there is.
func (c *Client) Target(ctx context.Context, name string) (metadata.Artifact, error) {
	info, err := c.lookup(ctx, name)
	if err != nil {
		return metadata.Artifact{}, err
	}
	return metadata.Artifact{Target: name, Length: info.Length, SHA256: hex.EncodeToString(info.Hashes["sha256"])}, nil
}
