package initramfs

import (
	"errors"
	"fmt"
)

// ErrFormat is wrapped by every error about an input that is no initramfs that
// the kernel would unpack whole, or none that can be packed anew.
var ErrFormat = errors.New("not an initramfs that can be packed anew")

// malformed returns an error that wraps ErrFormat.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrFormat, fmt.Errorf(format, args...))
}
