package image

// ProveUnmounted is step 5 of writing a slot, for tests: nothing that a caller
// can do makes the kernel leave a journal dirty after an unmount.
var ProveUnmounted = proveUnmounted

// WithoutDirect lets a stream write as where O_DIRECT is refused.
func WithoutDirect(s *Stream) { s.disk.(*directStorer).direct = false }

// Extents returns how many runs of blocks a file has.
func Extents(r Reading) int { return len(r.extents) }

// Misalign lets a stream write from memory that no device takes for O_DIRECT, so
// that the kernel refuses it. Refused reports whether it has.
func Misalign(s *Stream) (refused func() bool) {
	d := s.disk.(*directStorer)
	s.disk = misaligned{d}
	return func() bool { return !d.direct }
}

type misaligned struct{ *directStorer }

func (m misaligned) store(b []byte, at int64) (int64, error) {
	c := alignedBuffer(len(b)+directAlign, directAlign)[1:][:len(b)]
	copy(c, b)
	return m.directStorer.store(c, at)
}
