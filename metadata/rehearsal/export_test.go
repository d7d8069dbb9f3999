package rehearsal

import (
	"context"

	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// Scratch is where nodes' folders are made.
var Scratch = scratch

// Refreshed makes a node's folder for a past state by a refresh of the client.
func Refreshed(ctx context.Context, dir string, from storage.Reader, past repository.Past) (complete bool, err error) {
	roots, err := repository.ReadRoots(ctx, from)
	if err != nil {
		return false, err
	}
	n := &node{root: roots[0], dir: dir}
	return n.get(ctx, from, past, nil)
}

// Put makes the same folder without the client.
func Put(ctx context.Context, dir string, from storage.Reader, past repository.Past) (complete bool, err error) {
	n := &node{dir: dir}
	return n.put(ctx, from, past)
}

// Accepts reports whether a node with the given folder gets where a new node gets.
func Accepts(ctx context.Context, dir string, from storage.Reader) (bool, error) {
	roots, err := repository.ReadRoots(ctx, from)
	if err != nil {
		return false, err
	}
	fresh := &node{root: roots[0], dir: dir + "-new"}
	want, err := fresh.refresh(ctx, from, epoch())
	if err != nil {
		return false, err
	}
	n := &node{root: roots[0], dir: dir}
	got, err := n.refresh(ctx, from, epoch())
	if isRefusal(err) {
		return false, nil
	}
	return err == nil && got.holds == want.holds, err
}

// Covers reports whether the first state, if a node gets from it to another,
// makes it needless to try the second. Each comes with where its files are.
func Covers(ctx context.Context, aFrom storage.Reader, a repository.Past, bFrom storage.Reader, b repository.Past, root int64) (bool, error) {
	first, err := readAsks(ctx, aFrom, a)
	if err != nil {
		return false, err
	}
	second, err := readAsks(ctx, bFrom, b)
	return first.covers(second, root), err
}
