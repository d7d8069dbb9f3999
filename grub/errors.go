package grub

import "errors"

// ErrDamaged is wrapped by every error that says that an environment block
// cannot be used: missing, empty, zeroed, cut short, with another header, or
// with values that mean nothing. GRUB boots by last-good then, and the agent
// repairs the block.
var ErrDamaged = errors.New("environment block is damaged")

// damagedError says what is wrong with a block, and in which file.
type damagedError struct {
	path, what string
}

func damaged(what string) error { return &damagedError{what: what} }

func (e *damagedError) Error() string {
	if e.path == "" {
		return ErrDamaged.Error() + ": " + e.what
	}
	return e.path + ": " + ErrDamaged.Error() + ": " + e.what
}

func (e *damagedError) Unwrap() error      { return ErrDamaged }
func (e *damagedError) ReasonCode() string { return "grubenv-damaged" }
func (e *damagedError) Hint() string {
	return "GRUB boots by last-good until the block is repaired; 'agent healthcheck' repairs it"
}

// inFile names the file in a damagedError; other errors pass.
func inFile(path string, err error) error {
	var d *damagedError
	if errors.As(err, &d) {
		return &damagedError{path: path, what: d.what}
	}
	return err
}
