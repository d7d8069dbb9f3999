package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tufboot/internal/atomicfile"
	"tufboot/internal/pause"
)

const (
	contentDir   = "content"
	brokenSuffix = ".broken"
	maxBroken    = 8  // files set aside that are kept
	maxContent   = 16 // channel files and manifests that are kept
)

// store is the folder of kept metadata. Nothing read from it is trusted.
type store struct {
	dir string
	log *slog.Logger
	// fault, when set by a test, is asked before each change of the folder and
	// stands for the death of the process when it returns an error.
	fault func(op, name string) error
}

func (s *store) path(name string) string { return filepath.Join(s.dir, name) }

func (s *store) mayChange(op, name string) error {
	if s.fault == nil {
		return nil
	}
	return s.fault(op, name)
}

// open makes the folder if needed, waits for its lock and clears what a crashed
// writer left. The returned function gives the lock back.
func (s *store) open(ctx context.Context) (func(), error) {
	if err := s.mayChange("mkdir", "."); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.path(contentDir), 0o700); err != nil {
		return nil, fmt.Errorf("folder for metadata: %w", err)
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{s.dir, s.path(contentDir)} {
		if err := atomicfile.RemoveTemp(dir); err != nil {
			unlock()
			return nil, err
		}
	}
	return unlock, nil
}

// lock keeps two refreshes apart: the later writer could otherwise put an older
// timestamp over a newer one.
// The lock is on the folder itself, so there is no file of it to be damaged.
func (s *store) lock(ctx context.Context) (func(), error) {
	f, err := os.Open(s.dir)
	if err != nil {
		return nil, fmt.Errorf("lock of the metadata folder: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if err := pause.For(ctx, 50*time.Millisecond); err != nil {
			f.Close()
			return nil, fmt.Errorf("wait for %s, which another process holds: %w", f.Name(), err)
		}
	}
}

// read returns a kept file of at most limit bytes; fs.ErrNotExist when it was
// never kept.
func (s *store) read(name string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(s.path(name), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes", f.Name(), limit)
	}
	return data, nil
}

// load hands a kept file to accept and reports whether that succeeded. A file
// that cannot be read, or that accept finds broken, is set aside. An error is
// only what stops the refresh: the folder cannot be changed.
func (s *store) load(name string, limit int64, accept func([]byte) error) (bool, error) {
	data, err := s.read(name, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if isShortage(err) {
		return false, err
	}
	if err == nil {
		if err = accept(data); err == nil {
			return true, nil
		}
		if errors.Is(err, errOutdated) {
			return false, nil
		}
	}
	return false, s.setAside(name, err)
}

// isShortage reports whether a read failed for want of something that this
// machine is short of just now. The file may be good, and is a floor.
func isShortage(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

// errOutdated says of a kept file that nothing is wrong with it but its age.
var errOutdated = errors.New("outdated")

// setAside renames a kept file so that it is out of the way and can be looked
// at, over what was set aside under this name before.
func (s *store) setAside(name string, why error) error {
	s.log.Warn("set aside a kept metadata file; it will be fetched again",
		"file", s.path(name), "as", name+brokenSuffix, "why", why)
	if err := s.mayChange("set aside", name); err != nil {
		return err
	}
	aside := s.path(name + brokenSuffix)
	if err := os.RemoveAll(aside); err != nil {
		return fmt.Errorf("set aside %s: %w", s.path(name), err)
	}
	if err := os.Rename(s.path(name), aside); err != nil {
		return fmt.Errorf("set aside %s: %w", s.path(name), err)
	}
	dir := filepath.Dir(aside)
	s.prune(dir, maxBroken, func(n string) bool { return strings.HasSuffix(n, brokenSuffix) })
	return atomicfile.SyncDir(dir)
}

// write keeps data durably under name.
func (s *store) write(name string, data []byte) error {
	if err := s.mayChange("write", name); err != nil {
		return err
	}
	if err := atomicfile.Write(s.path(name), data, 0o600); err != nil {
		return fmt.Errorf("keep metadata: %w", err)
	}
	return nil
}

// loadContent returns the kept channel file or manifest with this hash, or nil
// when there is none that verify accepts.
func (s *store) loadContent(sha256 []byte, limit int64, verify func([]byte) error) []byte {
	var content []byte
	name := filepath.Join(contentDir, hex.EncodeToString(sha256))
	ok, err := s.load(name, limit, func(data []byte) error {
		content = data
		return verify(data)
	})
	if err != nil {
		s.log.Warn("cannot set aside a small file", "file", s.path(name), "error", err)
	}
	if !ok {
		return nil
	}
	return content
}

// writeContent keeps a channel file or manifest. Failing to is no failure of
// the caller: the next check asks for it again.
func (s *store) writeContent(sha256, data []byte) {
	name := filepath.Join(contentDir, hex.EncodeToString(sha256))
	err := os.MkdirAll(s.path(contentDir), 0o700)
	if err == nil {
		err = s.write(name, data)
	}
	if err != nil {
		s.log.Warn("cannot keep a small file; the next check fetches it again", "file", s.path(name), "error", err)
		return
	}
	s.prune(s.path(contentDir), maxContent, func(string) bool { return true })
}

// prune removes the oldest of the files in dir that match, until keep are left.
func (s *store) prune(dir string, keep int, match func(name string) bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	type aged struct {
		name string
		time time.Time
	}
	var found []aged
	for _, e := range entries {
		if info, err := e.Info(); err == nil && match(e.Name()) {
			found = append(found, aged{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(found, func(a, b aged) int { return b.time.Compare(a.time) })
	for _, old := range found[min(keep, len(found)):] {
		if err := os.RemoveAll(filepath.Join(dir, old.name)); err != nil {
			s.log.Warn("cannot remove an old file", "file", filepath.Join(dir, old.name), "error", err)
		}
	}
}
