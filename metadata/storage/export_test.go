package storage

import "time"

// SetPatience shortens how long a server may take.
func (h *HTTP) SetPatience(d time.Duration) { h.patience = d }

// SetPatience shortens how long a server may take.
func (b *Bucket) SetPatience(d time.Duration) { b.patience, b.transfer = d, d }

// ErrStalled is for tests.
var ErrStalled = errStalled
