package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tufboot/e2e/lab"
)

// Recordings are kept between runs, each in a folder that is named after everything
// that it depends on:
//
//	begin.img  the disk before the update
//	log        every write and flush after that
//	repo/      the repository, in which the next release waits
//	port       where the machine looks for its server

// keptFor is how long a recording is used again. Its metadata must not expire, and the
// folder not grow for ever.
const keptFor = 12 * time.Hour

// fetch returns a recording that is kept, or makes it.
func (w *workshop) fetch(ctx context.Context, r *recording) error {
	key, err := w.key(r)
	if err != nil {
		return err
	}
	r.dir = filepath.Join(w.shelf, key)
	if port, err := os.ReadFile(filepath.Join(r.dir, "port")); err == nil {
		err = w.serve(r, string(port))
		if err == nil {
			return r.open()
		}
		if !errors.Is(err, errTaken) {
			return err
		}
	}
	if r.dir, err = os.MkdirTemp(w.shelf, "new-"); err != nil {
		return err
	}
	if err := w.record(ctx, r); err != nil {
		return errors.Join(err, os.RemoveAll(r.dir))
	}
	port := strconv.Itoa(w.lab.Server.Port())
	if err := os.WriteFile(filepath.Join(r.dir, "port"), []byte(port), 0o644); err != nil {
		return err
	}
	r.server = "http://" + net.JoinHostPort("127.0.0.1", port) + "/" + r.name
	// Where another run was faster, this one stays where it is until it is too old.
	if kept := filepath.Join(w.shelf, key); os.Rename(r.dir, kept) == nil {
		r.dir = kept
	}
	return r.open()
}

// key returns a SHA-256 of what a recording depends on: the programs, what machines and
// releases are made with and by, grub.cfg, and the story.
func (w *workshop) key(r *recording) (string, error) {
	sum, err := w.lab.Sum()
	if err != nil {
		return "", err
	}
	cfg, err := w.config()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%d\n%s\n%s", sum, len(cfg), cfg, r.spell())
	for _, dir := range []string{"e2e/lab", "e2e/machine", "torture"} {
		err := filepath.WalkDir(w.lab.Source(dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || dir == "torture" && filepath.Base(path) != "record.go" {
				return err
			}
			content, err := os.ReadFile(path)
			fmt.Fprintf(h, "%s %d\n%s", filepath.Base(path), len(content), content)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return r.name + "-" + hex.EncodeToString(h.Sum(nil))[:20], nil
}

// errTaken says that the port that a recorded machine expects is somebody else's.
var errTaken = errors.New("the port is taken")

// serve serves a kept repository where the recorded machine expects it.
func (w *workshop) serve(r *recording, port string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := os.MkdirAll(w.lab.Repos, 0o755); err != nil {
		return err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	if w.servers[n] == nil {
		s, err := lab.ServeAt(w.lab.Repos, n)
		if err != nil {
			return fmt.Errorf("%w: %w", errTaken, err)
		}
		w.servers[n] = s
	}
	r.server = "http://" + net.JoinHostPort("127.0.0.1", port) + "/" + r.name
	return os.Symlink(filepath.Join(r.dir, "repo"), filepath.Join(w.lab.Repos, r.name))
}

// clear removes what is too old from the shelf, and makes it if it is not there.
func (w *workshop) clear() error {
	if err := os.MkdirAll(w.shelf, 0o755); err != nil {
		return err
	}
	all, err := os.ReadDir(w.shelf)
	if err != nil {
		return err
	}
	for _, e := range all {
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) > keptFor && strings.Contains(e.Name(), "-") {
			err = os.RemoveAll(filepath.Join(w.shelf, e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// findBlock returns where in the first partition of an image a block is.
func findBlock(image string, block []byte) (int64, error) {
	f, err := os.Open(image)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	b := make([]byte, 80<<20) // the GPT and the EFI partition
	n, err := f.ReadAt(b, 0)
	if at := bytes.Index(b[:n], block); at >= 0 {
		return int64(at), nil
	}
	return 0, errors.Join(err, errors.New("it is not on the disk"))
}
