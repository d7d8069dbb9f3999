package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNotRegular is in the chain of errors about something that is no regular
// file: a folder, a pipe, a device.
var ErrNotRegular = errors.New("not a regular file")

// openRegular opens a regular file. It does not wait: to open a pipe that nobody
// writes to would never end, and no signal would end it either.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENXIO) { // a socket
		return nil, nil, fmt.Errorf("open %s: %w", path, ErrNotRegular)
	} else if err != nil {
		return nil, nil, err
	}
	stat, err := file.Stat()
	if err == nil && !stat.Mode().IsRegular() {
		err = fmt.Errorf("open %s: %w", path, ErrNotRegular)
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, stat, nil
}

// ReadLocal returns the content of a regular file of at most limit bytes that is no
// file of a store, such as a key. Errors wrap [ErrNotRegular] and [ErrTooLarge].
func ReadLocal(path string, limit int64) ([]byte, error) {
	file, _, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("read %s: %w", path, ErrTooLarge)
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}
