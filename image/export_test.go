package image

// ProveUnmounted is step 5 of writing a slot, for tests: nothing that a caller
// can do makes the kernel leave a journal dirty after an unmount.
var ProveUnmounted = proveUnmounted

// WithoutDirect lets a stream write as where O_DIRECT is refused.
func WithoutDirect(s *Stream) { s.disk.(*directStorer).direct = false }

// Extents returns how many runs of blocks a file has.
func Extents(r Reading) int { return len(r.extents) }
