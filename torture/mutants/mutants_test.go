package main

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

const root = "../.."

// TestProtectionsAreInPlace: every row of the table is of a text that is in its file
// once, and names tests that there are. Who moves a protection moves its row.
func TestProtectionsAreInPlace(t *testing.T) {
	names := make(map[string]bool)
	tests := make(map[string][]byte)
	for _, m := range mutants() {
		if names[m.name] || m.name == "" || m.from == "" || m.text == m.instead {
			t.Errorf("%q: a name that is there twice, or nothing that is changed", m.name)
		}
		names[m.name] = true
		if _, err := m.apply(root); err != nil {
			t.Error(err)
		}
		if m.story != "" {
			continue
		}
		if tests[m.pkg] == nil {
			tests[m.pkg] = sources(t, filepath.Join(root, m.pkg, "*_test.go"))
		}
		for _, name := range m.topTests() {
			if ok, err := regexp.Match("(?m)^func "+name+`\(t \*testing.T\)`, tests[m.pkg]); err != nil || !ok {
				t.Errorf("%s: %s has no test %q", m.name, m.pkg, name)
			}
		}
	}
}

func sources(t *testing.T, glob string) []byte {
	t.Helper()
	files, err := filepath.Glob(glob)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	return all
}

// handful is how many mutants are run by the tests; seed draws them, from those whose
// tests take a second and need neither root nor much to compile.
const handful, seed = 5, 1

// TestHandful runs a few mutants. `make mutants` runs all.
func TestHandful(t *testing.T) {
	light := []string{"grub", "agent/health", "image/mkext4"}
	all := slices.DeleteFunc(mutants(), func(m mutant) bool {
		return m.story != "" || !slices.Contains(light, m.pkg)
	})
	rng := rand.New(rand.NewPCG(seed, 0))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	all = all[:handful]
	b, err := newWorkshop(t.Context(), t.TempDir(), all)
	if err != nil {
		t.Fatal(err)
	}
	b.baselines(t.Context(), all, 2)
	for _, o := range b.tryAll(t.Context(), all, 2) {
		if o.wrong() != "" {
			t.Errorf("%s (seed %d): %s", o.name, seed, o.wrong())
		}
	}
}

// TestNotKilled are mutants of which nothing may be said, or which nothing notices.
func TestNotKilled(t *testing.T) {
	good := bootState()[0]
	good.pkg, good.tests = "internal/docpage", "TestWrite"
	good.file, good.text, good.instead = "internal/docpage/docpage.go", "if !found || !ended {", "if !found && !ended {"
	noBuild, moved, survivor, survived := good, good, good, good
	noBuild.instead = "if !found || !ended || nothing {"
	moved.text = "if !found || nothing {"
	survivor.instead = "if !ended || !found {"
	survived.instead, survived.survives = survivor.instead, "the order means nothing"
	known := good
	known.survives = "wrong"
	b, err := newWorkshop(t.Context(), t.TempDir(), []mutant{good})
	if err != nil {
		t.Fatal(err)
	}
	b.baselines(t.Context(), []mutant{good}, 1)
	for i, c := range []struct {
		mutant
		err   error
		wrong bool
	}{{good, nil, false}, {noBuild, errBuild, true}, {moved, errMoved, true}, {survivor, nil, true}, {survived, nil, false}, {known, nil, true}} {
		if o := b.try(t.Context(), c.mutant); !errors.Is(o.err, c.err) || (o.wrong() != "") != c.wrong {
			t.Errorf("%d: %v, %q", i, o.err, o.wrong())
		}
	}
	missing := good
	missing.tests = "TestNothing"
	if o := b.try(t.Context(), missing); !errors.Is(o.err, errBaseline) {
		t.Errorf("a test that there is not: %v", o.err)
	}
}

func TestReadEvents(t *testing.T) {
	const panicked = `{"Action":"run","Test":"TestA"}
{"Action":"pass","Test":"TestA"}
{"Action":"run","Test":"TestB"}
{"Action":"output","Output":"panic"}
{"Action":"fail"}
`
	r, _, err := readEvents([]byte(panicked))
	if err != nil || r.noticed != "TestB" || !slices.Equal(r.passed, []string{"TestA"}) {
		t.Errorf("%+v, %v", r, err)
	}
	r, output, err := readEvents([]byte(`{"Action":"output","Output":"no such thing"}` + "\n" + `{"Action":"fail","FailedBuild":"x"}`))
	if err != nil || r.noticed != "" || output != "no such thing" {
		t.Errorf("%+v, %q, %v", r, output, err)
	}
	if _, _, err := readEvents([]byte("FAIL\n")); err == nil {
		t.Error("no event was read as one")
	}
}
