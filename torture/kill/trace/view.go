//go:build linux && amd64

package trace

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// view shows the arguments of the call in which a thread is stopped.
type view struct {
	tid  int
	args [6]uint64
}

// onDisk reports whether a descriptor is that of a regular file or a block device.
func (v view) onDisk(fd uint64) bool {
	info, err := os.Stat(fmt.Sprintf("/proc/%d/fd/%d", v.tid, fd))
	if err != nil {
		return false
	}
	return info.Mode().IsRegular() || info.Mode()&(fs.ModeDevice|fs.ModeCharDevice) == fs.ModeDevice
}

// describe shows a call to people.
func (v view) describe(c call) Call {
	d := Call{Name: c.name}
	var shown []string
	for i, kind := range c.args {
		text, name := v.show(kind, v.args[i])
		shown = append(shown, text)
		if d.File == "" || kind == 'p' && strings.IndexByte(c.args, 'p') == i {
			d.File = name
		}
	}
	d.Args = strings.Join(shown, ", ")
	return d
}

func (v view) show(kind rune, arg uint64) (text, name string) {
	switch kind {
	case 'd', 'f':
		if int32(uint32(arg)) == unix.AT_FDCWD { //nolint:gosec // as the kernel reads it
			return "AT_FDCWD", ""
		}
		name, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", v.tid, arg))
		if err != nil {
			return strconv.FormatUint(arg, 10), ""
		}
		return fmt.Sprintf("%d<%s>", arg, name), name
	case 'p', 's':
		if arg == 0 {
			return "NULL", ""
		}
		name := v.text(arg)
		return strconv.Quote(name), name
	case 'x':
		return fmt.Sprintf("%#x", arg), ""
	}
	return strconv.FormatInt(int64(arg), 10), "" //nolint:gosec // as the kernel reads it
}

// text reads a string of the process.
func (v view) text(at uint64) string {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", v.tid))
	if err != nil {
		return "?"
	}
	defer f.Close()
	var all []byte
	for len(all) < unix.PathMax {
		part := make([]byte, 256-at%256) // never over the end of a page
		n, err := f.ReadAt(part, int64(at))
		if end := bytes.IndexByte(part[:n], 0); end >= 0 {
			return string(append(all, part[:end]...))
		}
		if err != nil {
			break
		}
		all, at = append(all, part[:n]...), at+uint64(n) //nolint:gosec // a length
	}
	return string(all) + "..."
}

// groupOf returns the process that a thread is of.
func groupOf(tid int) (int, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "Tgid:"); ok {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, fmt.Errorf("thread %d is of no process", tid)
}
