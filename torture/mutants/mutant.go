package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

// mutant is tufboot without one of its protections.
type mutant struct {
	name string // of the protection
	from string // what it protects from
	// file is where it is, from the module's root; text is what is taken out, which is
	// in it exactly once, and instead is put in its place.
	file, text, instead string
	// pkg and tests are the narrowest command that must notice: a folder, and tests of
	// its package, with "|" between. Of a test with subtests one may be named, "/" between.
	pkg, tests string
	// story is the story of the torture that must notice instead, as it takes it.
	story string
	// survives says why nothing notices, where that is known; "": something must.
	survives string
}

// errMoved says that a protection is not where the table has it: the mutant is to be
// mended, or somebody has taken the protection out.
var errMoved = errors.New("the protection is not where it was")

// apply returns the file without the protection. root is the module's folder. A
// text that is not there exactly once is errMoved.
func (m mutant) apply(root string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.file)))
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(data), m.text); n != 1 {
		return nil, fmt.Errorf("%s: %s has %d times %q: %w", m.name, m.file, n, m.text, errMoved)
	}
	changed := []byte(strings.Replace(string(data), m.text, m.instead, 1))
	if strings.HasSuffix(m.file, ".go") {
		if _, err := parser.ParseFile(token.NewFileSet(), m.file, changed, parser.SkipObjectResolution); err != nil {
			return nil, fmt.Errorf("%s: not Go any more: %w", m.name, err)
		}
	}
	return changed, nil
}

// overlay writes the changed file into dir, and beside it what go's -overlay takes,
// of which it returns the path. The source itself stays as it is.
func (m mutant) overlay(root, dir string) (string, error) {
	changed, err := m.apply(root)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(file, changed, 0o600); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]map[string]string{
		"Replace": {filepath.Join(root, filepath.FromSlash(m.file)): file},
	})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o600)
}

// topTests returns the names of the tests without their subtests.
func (m mutant) topTests() []string {
	var names []string
	for t := range strings.SplitSeq(m.tests, "|") {
		top, _, _ := strings.Cut(t, "/")
		names = append(names, top)
	}
	return names
}

// pattern returns what go test's -run takes for tests.
func pattern(tests []string) string {
	var parts []string
	for _, t := range tests {
		parts = append(parts, "^"+strings.ReplaceAll(t, "/", "$/^")+"$")
	}
	return strings.Join(parts, "|")
}

// mutants returns all of them.
func mutants() []mutant {
	var all []mutant
	for _, table := range [][]mutant{bootState(), bootScript(), slots(), agents(), gates(), tufClient(), network(), repositories()} {
		all = append(all, table...)
	}
	return all
}
