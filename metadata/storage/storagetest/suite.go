// Package storagetest proves that a store keeps the promises of package storage:
// every kind of store runs the same tests. It also starts a real S3 server for
// tests.
package storagetest

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"tufboot/metadata/storage"
)

// Place is one place that any number of writers can open. Each calls it for a
// store of its own.
type Place func() storage.Store

// Run runs the tests. newPlace makes an empty place for one of them.
func Run(t *testing.T, newPlace func(t *testing.T) Place) {
	tests := []struct {
		name string
		run  func(t *testing.T, place Place)
	}{
		{"not there", testNotThere},
		{"create", testCreate},
		{"replace", testReplace},
		{"names", testNames},
		{"bad names", testBadNames},
		{"list", testList},
		{"sizes", testSizes},
		{"work folder", testWorkDir},
		{"two creators", testTwoCreators},
		{"two replacers", testTwoReplacers},
		{"counter", testCounter},
		{"import", testImport},
		{"import of what changes", testImportChanging},
		{"import of what cannot be read", testImportUnreadable},
		{"unfinished", testUnfinished},
		{"cancelled", testCancelled},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, newPlace(t)) })
	}
}

func testNotThere(t *testing.T, place Place) {
	s := place()
	for _, name := range []string{"1.root.json", "metadata/1.root.json"} {
		_, _, err := s.Open(t.Context(), name)
		wantError(t, err, fs.ErrNotExist)
		_, err = s.Stat(t.Context(), name)
		wantError(t, err, fs.ErrNotExist)
		if err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name the file: %v", err)
		}
		noError(t, s.Remove(t.Context(), name))
	}
	wantNames(t, s, "")
	wantNames(t, s, "metadata/")
}

func testCreate(t *testing.T, place Place) {
	s := place()
	const name = "metadata/1.root.json"
	noError(t, s.Create(t.Context(), name, []byte("one")))
	info := wantContent(t, s, name, "one")
	if info.Version == "" {
		t.Error("no version, so that nobody could replace it")
	}
	looked, err := s.Stat(t.Context(), name)
	noError(t, err)
	if looked.Name != name || looked.Size != 3 || looked.Modified.IsZero() {
		t.Errorf("looked at: %+v", looked)
	}
	if looked.Version != info.Version {
		t.Errorf("opened it has the version %q, looked at %q", info.Version, looked.Version)
	}
	for _, content := range []string{"two", "one", ""} {
		wantError(t, place().Create(t.Context(), name, []byte(content)), fs.ErrExist)
	}
	wantContent(t, s, name, "one")
	noError(t, s.Remove(t.Context(), name))
	noError(t, s.Create(t.Context(), name, []byte("three")))
	wantContent(t, s, name, "three")
}

func testReplace(t *testing.T, place Place) {
	s := place()
	const name = "metadata/timestamp.json"
	replace := func(content string, old storage.Info) error {
		return place().Replace(t.Context(), name, []byte(content), old)
	}
	noError(t, replace("one", storage.Info{}))
	first := wantContent(t, s, name, "one")
	wantError(t, replace("two", storage.Info{}), storage.ErrChanged)
	wantContent(t, s, name, "one")

	noError(t, replace("two", first)) // of the same length, and at once
	second := wantContent(t, s, name, "two")
	wantError(t, replace("six", first), storage.ErrChanged)
	wantContent(t, s, name, "two")
	noError(t, replace("two", second)) // the same again
	wantContent(t, s, name, "two")

	third := wantContent(t, s, name, "two")
	noError(t, s.Remove(t.Context(), name))
	wantError(t, replace("six", third), storage.ErrChanged)
	wantNames(t, s, "")
}

// strangeNames are of files that TUF and tufboot name so.
var strangeNames = []string{
	"metadata/1.channel-a+b.json",
	"targets/releases/1.0+b1/amd64/vmlinuz",
	"targets/releases/1.0~rc1/amd64/vmlinuz",
	"targets/releases/1.0~~+/amd64/initramfs-1.0~rc1+b1.img",
	"targets/releases/a b/%41/é/#1?x=y&z",
}

func testNames(t *testing.T, place Place) {
	s := place()
	for _, name := range strangeNames {
		noError(t, s.Create(t.Context(), name, []byte(name)))
	}
	for _, name := range strangeNames {
		wantContent(t, s, name, name)
		_, err := s.Stat(t.Context(), name)
		noError(t, err)
	}
	sorted := slices.Sorted(slices.Values(strangeNames))
	wantNames(t, s, "", sorted...)
	for _, name := range strangeNames {
		noError(t, s.Remove(t.Context(), name))
	}
	wantNames(t, s, "")
}

func testBadNames(t *testing.T, place Place) {
	s := place()
	for _, name := range []string{"", ".", "..", "../x", "a/../../x", "/etc/x", "a//b", "a/", `a\..\b`, "a\x00b", "a\nb"} {
		_, _, err := s.Open(t.Context(), name)
		wantError(t, err, fs.ErrInvalid)
		_, err = s.Stat(t.Context(), name)
		wantError(t, err, fs.ErrInvalid)
		wantError(t, s.Create(t.Context(), name, nil), fs.ErrInvalid)
		wantError(t, s.Replace(t.Context(), name, nil, storage.Info{}), fs.ErrInvalid)
		wantError(t, s.Remove(t.Context(), name), fs.ErrInvalid)
		_, _, err = s.Import(t.Context(), storage.Bytes(nil), func(string) string { return name })
		wantError(t, err, fs.ErrInvalid)
	}
	for _, err := range s.List(t.Context(), "../") {
		wantError(t, err, fs.ErrInvalid)
	}
	wantNames(t, s, "")
}

func testList(t *testing.T, place Place) {
	s := place()
	names := []string{ // in the order of their bytes
		"a-b/x", "a.json", "a/b", "a/c/d", "a0",
		"releases/1.0+b1/x", "releases/1.0-rc1/x", "releases/1.0/x", "releases/1.0~rc1/x",
	}
	for _, i := range []int{4, 0, 8, 2, 6, 1, 3, 7, 5} {
		noError(t, s.Create(t.Context(), names[i], []byte(names[i])))
	}
	wantNames(t, s, "", names...)
	wantNames(t, s, "a/", names[2:4]...)
	wantNames(t, s, "releases/", names[5:]...)
	wantNames(t, s, "releases/1.0/", names[7])
	wantNames(t, s, "nothing/")
	for info, err := range s.List(t.Context(), "") {
		noError(t, err)
		if info.Size != int64(len(info.Name)) || info.Modified.IsZero() {
			t.Errorf("listed: %+v", info)
		}
		if opened := wantContent(t, s, info.Name, info.Name); opened.Version != info.Version {
			t.Errorf("%s is listed with the version %q and opened with %q", info.Name, info.Version, opened.Version)
		}
	}
	for _, err := range s.List(t.Context(), "") { // nothing is wrong with not wanting more
		noError(t, err)
		break
	}
}

func testSizes(t *testing.T, place Place) {
	s := place()
	empty, large := []byte{}, noise(20<<20)
	noError(t, s.Create(t.Context(), "empty.json", empty))
	wantContent(t, s, "empty.json", "")
	noError(t, s.Create(t.Context(), "large.json", large))
	info := wantContent(t, s, "large.json", string(large))
	wantError(t, s.Create(t.Context(), "large.json", empty), fs.ErrExist)
	wantError(t, s.Create(t.Context(), "large.json", large[1:]), fs.ErrExist)
	slices.Reverse(large)
	noError(t, s.Replace(t.Context(), "large.json", large, info))
	wantError(t, s.Replace(t.Context(), "large.json", large[1:], info), storage.ErrChanged)
	if got := wantContent(t, s, "large.json", string(large)); got.Version == info.Version {
		t.Errorf("another content has the same version %q", info.Version)
	}
}

func testWorkDir(t *testing.T, place Place) {
	s := place()
	unlock, err := s.Lock(t.Context())
	noError(t, err)
	const name = storage.WorkDir + "/history/1.json"
	noError(t, s.Create(t.Context(), name, []byte("{}")))
	wantNames(t, s, storage.WorkDir+"/history/", name)
	wantNames(t, s, "", name)
	unlock()
	unlock, err = s.Lock(t.Context())
	noError(t, err)
	wantContent(t, s, name, "{}")
	unlock()
}

// Helpers.

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got the error %v, want one that wraps %v", err, want)
	}
}

func wantContent(t *testing.T, s storage.Store, name, want string) storage.Info {
	t.Helper()
	data, info, err := storage.ReadFile(t.Context(), s, name, 64<<20)
	noError(t, err)
	if !bytes.Equal(data, []byte(want)) {
		t.Fatalf("%s has %d bytes: %.40q, want %d: %.40q", name, len(data), data, len(want), want)
	}
	if info.Name != name || info.Size != int64(len(want)) {
		t.Errorf("opened %s: %+v", name, info)
	}
	return info
}

func wantNames(t *testing.T, s storage.Store, prefix string, want ...string) {
	t.Helper()
	var got []string
	for info, err := range s.List(t.Context(), prefix) {
		noError(t, err)
		got = append(got, info.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("below %q lie\n%q, want\n%q", prefix, got, want)
	}
}
