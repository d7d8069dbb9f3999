package repository

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"tufboot/metadata/storage"
)

// keyring is private keys by name, such as "root-1".
type keyring struct {
	t    *testing.T
	dirs map[string]string // each key in a folder of its own
	pub  map[string]crypto.PublicKey
}

// newKeyring makes keys of ed25519, the same for the same name.
func newKeyring(t *testing.T, names ...string) *keyring {
	k := &keyring{t: t, dirs: make(map[string]string), pub: make(map[string]crypto.PublicKey)}
	k.add(names...)
	return k
}

func (k *keyring) add(names ...string) {
	k.t.Helper()
	for _, name := range names {
		seed := sha256.Sum256([]byte(name))
		private := ed25519.NewKeyFromSeed(seed[:])
		dir := k.t.TempDir()
		if _, err := WriteKey(dir, name, private, nil); err != nil {
			k.t.Fatal(err)
		}
		k.dirs[name], k.pub[name] = dir, private.Public()
	}
}

// keys returns the named private keys.
func (k *keyring) keys(names ...string) *KeyDir {
	k.t.Helper()
	var dirs []string
	for _, name := range names {
		if k.dirs[name] == "" {
			k.t.Fatalf("no key %s", name)
		}
		dirs = append(dirs, k.dirs[name])
	}
	keys, err := OpenKeys(dirs, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	return keys
}

// all returns all private keys but those named.
func (k *keyring) all(but ...string) *KeyDir {
	var names []string
	for name := range k.dirs {
		if !slices.Contains(but, name) {
			names = append(names, name)
		}
	}
	return k.keys(names...)
}

func (k *keyring) id(name string) string {
	k.t.Helper()
	id, err := KeyID(k.pub[name])
	if err != nil {
		k.t.Fatal(err)
	}
	return id
}

func (k *keyring) publics(names ...string) []crypto.PublicKey {
	var list []crypto.PublicKey
	for _, name := range names {
		if k.pub[name] == nil {
			k.t.Fatalf("no key %s", name)
		}
		list = append(list, k.pub[name])
	}
	return list
}

// firstKeys are the keys of ceremonyRepo.
func firstKeys() []string {
	return []string{"root-1", "root-2", "root-3", "targets", "snapshot", "timestamp", "publish"}
}

// firstRoles are the edits that make a repository: root needs 2 of 3.
func firstRoles(k *keyring) map[string]RoleEdit {
	return map[string]RoleEdit{
		Root:      {Add: k.publics("root-1", "root-2", "root-3"), Threshold: 2},
		Targets:   {Add: k.publics("targets")},
		Snapshot:  {Add: k.publics("snapshot")},
		Timestamp: {Add: k.publics("timestamp")},
		Channels:  {Add: k.publics("publish")},
		Releases:  {Add: k.publics("publish")},
	}
}

// ceremonyRepo makes a repository by an event, with one release.
func ceremonyRepo(t *testing.T) (*Repository, *keyring) {
	t.Helper()
	k := newKeyring(t, firstKeys()...)
	r, _ := foundRepo(t, k, start)
	publish(t, r, k.all(), "1")
	return r, k
}

// foundRepo makes a repository by an event that was proposed at a time and that
// all keys sign.
func foundRepo(t *testing.T, k *keyring, proposed time.Time) (*Repository, *Event) {
	t.Helper()
	e := proposeNew(t, k, proposed)
	signEvent(t, e, k.all())
	store := storage.NewFolder(t.TempDir())
	if _, err := CreateFromEvent(t.Context(), store, e, k.all(), at(start)); err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), store, at(start))
	if err != nil {
		t.Fatal(err)
	}
	return r, e
}

// proposeNew proposes a repository that is not there yet.
func proposeNew(t *testing.T, k *keyring, proposed time.Time) *Event {
	t.Helper()
	e, err := ProposeNew(ProposeOptions{Roles: firstRoles(k)}, proposed)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// copyRepo returns a copy of a repository: quicker than to make another.
func copyRepo(t *testing.T, r *Repository) *Repository {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(r.Place())); err != nil {
		t.Fatal(err)
	}
	return newRepository(storage.NewFolder(dir), at(start))
}

func propose(t *testing.T, r *Repository, roles map[string]RoleEdit) *Event {
	t.Helper()
	e, err := r.Propose(t.Context(), ProposeOptions{Roles: roles})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func signEvent(t *testing.T, e *Event, keys Signers) {
	t.Helper()
	if _, err := e.Sign(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
}

// change proposes, signs and publishes with all keys.
func change(t *testing.T, r *Repository, k *keyring, roles map[string]RoleEdit) *Event {
	t.Helper()
	e := propose(t, r, roles)
	signEvent(t, e, k.all())
	if _, err := r.PublishEvent(t.Context(), e, k.all()); err != nil {
		t.Fatal(err)
	}
	return e
}

func encoded(t *testing.T, e *Event) []byte {
	t.Helper()
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// logLines is a log to look into.
type logLines struct{ bytes.Buffer }

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logLines) contains(text string) bool { return strings.Contains(l.String(), text) }
