//go:build !amd64 && !arm64

package confine

import (
	"errors"
	"runtime"
)

// filterCalls says that no filter is written for this architecture.
func filterCalls(bool) error {
	return errors.New("no seccomp filter for " + runtime.GOARCH)
}
