package storage

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	"tufboot/internal/atomicfile"
)

// List yields the files below a folder; see [Lister]. Locks are no files of the
// store.
func (f *Folder) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := checkPrefix(prefix, f.dir); err != nil {
			yield(Info{}, err)
			return
		}
		l := lister{ctx: ctx, folder: f, prefix: prefix, yield: yield}
		start, _ := path.Split(prefix)
		if err := l.walk(start); err != nil && !errors.Is(err, fs.SkipAll) {
			yield(Info{}, err)
		}
	}
}

type lister struct {
	ctx    context.Context
	folder *Folder
	prefix string
	yield  func(Info, error) bool
}

// walk lists a folder, given with its slash. It returns fs.SkipAll when the
// caller has seen enough.
func (l *lister) walk(dir string) error {
	entries, err := os.ReadDir(l.folder.path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	// As object stores sort: by the whole name. "1.0-rc/x" is before "1.0/x",
	// although the folder "1.0" is before "1.0-rc".
	slices.SortFunc(entries, func(a, b fs.DirEntry) int {
		return strings.Compare(sortName(a), sortName(b))
	})
	for _, entry := range entries {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		if err := l.visit(dir, entry); err != nil {
			return err
		}
	}
	return nil
}

func sortName(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

func (l *lister) visit(dir string, entry fs.DirEntry) error {
	name := dir + entry.Name()
	if entry.IsDir() {
		sub := name + "/"
		if strings.HasPrefix(sub, l.prefix) || strings.HasPrefix(l.prefix, sub) {
			return l.walk(sub)
		}
		return nil
	}
	if !strings.HasPrefix(name, l.prefix) || strings.HasPrefix(entry.Name(), atomicfile.TempPrefix) ||
		name == editLock || name == writeLock {
		return nil
	}
	stat, err := os.Stat(l.folder.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed meanwhile
	} else if err != nil {
		return err
	}
	if stat.Mode().IsRegular() && !l.yield(infoOf(name, stat), nil) {
		return fs.SkipAll
	}
	return nil
}
