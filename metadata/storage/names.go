package storage

import (
	"fmt"
	"io/fs"
	"strings"
)

// errName is in the chain of errors about a name that no file of a store can
// have. Names come out of metadata, which somebody else may have signed.
var errName = fmt.Errorf("not a name within the repository: %w", fs.ErrInvalid)

// checkName refuses names that lead out of a store, or that mean different
// things to different stores.
func checkName(op, name, place string) error {
	if !fs.ValidPath(name) || name == "." || strings.ContainsFunc(name, forbidden) {
		return &FileError{Op: op, Name: name, Place: place, Err: errName}
	}
	return nil
}

func checkPrefix(prefix, place string) error {
	if prefix == "" {
		return nil
	}
	return checkName("list", strings.TrimSuffix(prefix, "/"), place)
}

func forbidden(r rune) bool { return r == '\\' || r < ' ' || r == 0x7f }
