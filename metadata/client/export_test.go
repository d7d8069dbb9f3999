package client

import (
	"context"
	"time"
)

// NoWait makes c try again without waiting, and counts how often it would have
// waited.
func (c *Client) NoWait() *int {
	waits := new(int)
	c.retry.sleep = func(ctx context.Context, _ time.Duration) error {
		*waits++
		return ctx.Err()
	}
	return waits
}

// Fault makes c ask f before each change of its folder.
func (c *Client) Fault(f func(op, name string) error) { c.store.fault = f }

// Bounds that tests check.
const (
	MaxBroken    = maxBroken
	MaxContent   = maxContent
	MaxKeptRoles = maxKeptRoles
)
