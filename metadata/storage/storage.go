// Package storage is where a repository's files lie: a folder, a bucket of an
// object store, or, to read only, a web server.
//
// It knows names and bytes. What the names mean, and in which order they are
// written, is package metadata/repository's business. What it promises to the
// writer is what the order rests on: a file appears whole or not at all, has
// reached the device (or the object store has confirmed it) when the call
// returns, and is only made where there was none or replaced where it is still
// what the writer has read.
package storage

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// ErrChanged is in the chain of errors of Replace when the file is no longer
// what the caller has read: somebody else has replaced it.
var ErrChanged = errors.New("changed by somebody else")

// ErrLocked is in the chain of errors of Lock when another writer holds it.
var ErrLocked = errors.New("another process holds it")

// ErrReadOnly is in the chain of errors of stores that cannot be written.
var ErrReadOnly = errors.New("cannot be written")

// Info says what a store knows about a file.
type Info struct {
	Name     string // relative to the store, with slashes
	Size     int64  // bytes
	Modified time.Time
	// Version differs between two contents of the same name. Where the store
	// has none, it is "", and Replace compares what it finds itself.
	Version string
}

// Reader reads files. Names are relative, with slashes. Errors about a file
// that is not there wrap fs.ErrNotExist.
type Reader interface {
	// Open opens a file. The Info belongs to the content that is read.
	Open(ctx context.Context, name string) (io.ReadCloser, Info, error)
	// Stat returns what is known without reading the content.
	Stat(ctx context.Context, name string) (Info, error)
	// String names the place for people, without passwords.
	String() string
}

// Lister lists files.
type Lister interface {
	// List yields the files whose names start with prefix ("" or a folder with
	// its slash), in the order of their names, unfinished ones left out.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
}

// Writer makes files, each whole or not at all.
type Writer interface {
	// Create makes a file. Errors wrap fs.ErrExist if there is one already.
	Create(ctx context.Context, name string, data []byte) error
	// Replace makes or replaces a file. old is what Open returned for the
	// content that is to be replaced, or the zero Info if there was none; errors
	// wrap ErrChanged, and nothing has happened, if that is no longer so.
	Replace(ctx context.Context, name string, data []byte, old Info) error
	// Import copies what open gives to the file that name returns for the hex
	// SHA-256 of the bytes, and returns that and their number. open may be
	// called twice. A file that is there already with that name and length is
	// left alone.
	Import(ctx context.Context, open func() (io.ReadCloser, error), name func(sum string) string) (sum string, length int64, err error)
}

// Keeper keeps other writers out and removes what is no longer needed.
type Keeper interface {
	// Lock keeps other writers out until unlock is called, where the store has a
	// lock; where it has none, Create and Replace keep two writers apart.
	// Errors wrap ErrLocked.
	Lock(ctx context.Context) (unlock func(), err error)
	// Remove removes a file; that it is not there is no error.
	Remove(ctx context.Context, name string) error
}

// Store is a place that a repository can be kept in.
type Store interface {
	Reader
	Lister
	Writer
	Keeper
}

// ReadFile returns the content of a file of at most limit bytes.
func ReadFile(ctx context.Context, r Reader, name string, limit int64) ([]byte, Info, error) {
	f, info, err := r.Open(ctx, name)
	if err != nil {
		return nil, Info{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, Info{}, &FileError{Op: "read", Name: name, Place: r.String(), Err: err}
	}
	if int64(len(data)) > limit {
		return nil, Info{}, &FileError{Op: "read", Name: name, Place: r.String(), Err: ErrTooLarge}
	}
	return data, info, nil
}

// ErrTooLarge is in the chain of errors about a file that is larger than it
// can rightly be.
var ErrTooLarge = errors.New("larger than it can rightly be")

// FileError names the file and the place of an error.
type FileError struct {
	Op    string // what was tried: "open", "create", ...
	Name  string // the file's name in the store
	Place string // the store, for people
	Err   error
}

func (e *FileError) Error() string {
	return e.Op + " " + e.Name + " in " + e.Place + ": " + e.Err.Error()
}
func (e *FileError) Unwrap() error { return e.Err }
