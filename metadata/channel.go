package metadata

import (
	"fmt"
	"maps"
	"slices"
)

// Channel is a signed pointer to the current release of each architecture
// (channels/NAME.json). Promotion and withdrawal move the pointer; artifacts
// are never uploaded again.
type Channel struct {
	Schema int    `json:"schema"`
	Name   string `json:"name"`
	// Releases maps an architecture to its current release.
	Releases map[string]ReleaseRef `json:"releases"`
}

// ReleaseRef points to a release manifest: the TUF target that carries it and
// the identity (SHA-256) that it must have.
type ReleaseRef struct {
	Version string `json:"version"`
	Target  string `json:"target"`
	SHA256  ID     `json:"sha256"`
}

// Encode returns the channel file's bytes, after checking it.
func (c *Channel) Encode() ([]byte, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	return encode(c)
}

// ParseChannel decodes and checks a channel file. Errors wrap ErrFormat.
func ParseChannel(data []byte) (*Channel, error) {
	c := new(Channel)
	if err := decode(data, c); err != nil {
		return nil, fmt.Errorf("channel file: %w", err)
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Channel) validate() error {
	if err := checkSchema(c.Schema); err != nil {
		return fmt.Errorf("channel file: %w", err)
	}
	if err := CheckChannel(c.Name); err != nil {
		return err
	}
	for _, arch := range slices.Sorted(maps.Keys(c.Releases)) {
		if err := CheckArch(arch); err != nil {
			return fmt.Errorf("channel %s: %w", c.Name, err)
		}
		if err := c.Releases[arch].validate(); err != nil {
			return fmt.Errorf("channel %s: %s: %w", c.Name, arch, err)
		}
	}
	return nil
}

func (r ReleaseRef) validate() error {
	if err := CheckVersion(r.Version); err != nil {
		return err
	}
	if err := CheckTarget(r.Target); err != nil {
		return err
	}
	return checkSHA256(string(r.SHA256))
}
