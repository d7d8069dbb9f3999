package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"

	"tufboot/internal/console"
)

// checkApart refuses a folder for private keys that lies in the repository, all of
// which is handed out to everybody.
func checkApart(repo, keys string) error {
	inside, err := within(keys, repo)
	if err != nil {
		return err
	}
	if inside {
		return console.Usagef("init: --keys %s lies in the repository %s, which is handed out to everybody: name a folder outside of it", keys, repo)
	}
	return nil
}

// checkOutput refuses to copy a repository into itself, or over a folder that it
// lies in.
func checkOutput(flag, output, from string) error {
	for _, pair := range [][2]string{{output, from}, {from, output}} {
		if inside, err := within(pair[0], pair[1]); err != nil {
			return err
		} else if inside {
			return console.Usagef("--%s %s and the repository %s lie in each other: name a place apart from it", flag, output, from)
		}
	}
	return nil
}

// within reports whether a place is the folder at another one, or lies in it. A
// bucket has nothing in it that is a path.
func within(place, other string) (bool, error) {
	path, isPath := localPath(place)
	dir, isDir := localPath(other)
	if !isPath || !isDir {
		return false, nil
	}
	dir, err := realPath(dir)
	if err != nil {
		return false, err
	}
	if path, err = realPath(path); err != nil {
		return false, err
	}
	relative, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(relative), nil
}

// localPath returns the path that a place is; false where it is none.
func localPath(place string) (string, bool) {
	scheme, rest, isURL := strings.Cut(place, "://")
	if !isURL {
		return place, true
	}
	u, err := url.Parse("file://" + rest) // opening it says what is wrong with it
	if err != nil || scheme != "file" {
		return "", false
	}
	return u.Path, true
}

// realPath returns the absolute path without symbolic links, of which the last
// parts need not be there yet.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("path %s: %w", path, err)
	}
	missing := ""
	for {
		found, err := filepath.EvalSymlinks(path)
		if err == nil {
			return filepath.Join(found, missing), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return "", fmt.Errorf("path: %w", err)
		}
		path, missing = filepath.Dir(path), filepath.Join(filepath.Base(path), missing)
	}
}
