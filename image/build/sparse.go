package build

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

const (
	seekData = 3 // SEEK_DATA of lseek(2)
	copyUnit = 1 << 18
)

// copySparse copies file src to offset of dst, which has only zeros there, and
// leaves out what is zero in src.
func copySparse(dst *os.File, offset int64, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	buf := make([]byte, copyUnit)
	for at := int64(0); ; {
		next, err := in.Seek(at, seekData)
		switch {
		case errors.Is(err, syscall.ENXIO): // no data after at
			return nil
		case err == nil:
			at = next / copyUnit * copyUnit
		}
		n, err := in.ReadAt(buf, at)
		if !allZero(buf[:n]) {
			if _, err := dst.WriteAt(buf[:n], offset+at); err != nil {
				return fmt.Errorf("copy into the image: %w", err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		at += int64(n)
	}
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
