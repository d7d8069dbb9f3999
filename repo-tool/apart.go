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

// within reports whether a path is the folder at place, or lies in it. A bucket
// has nothing in it that is a path.
func within(path, place string) (bool, error) {
	if scheme, rest, isURL := strings.Cut(place, "://"); isURL && scheme != "file" {
		return false, nil
	} else if isURL {
		u, err := url.Parse("file://" + rest)
		if err != nil {
			return false, nil // opening it says what is wrong with it
		}
		place = u.Path
	}
	dir, err := realPath(place)
	if err != nil {
		return false, err
	}
	if path, err = realPath(path); err != nil {
		return false, err
	}
	relative, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(relative), nil
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
