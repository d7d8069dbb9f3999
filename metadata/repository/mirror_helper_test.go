package repository

import (
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/client"
	"tufboot/metadata/storage"
)

// moreKeys are keys besides others.
type moreKeys struct {
	Signers
	more map[string]signature.Signer
}

func (k moreKeys) Signer(ctx context.Context, id string) (signature.Signer, error) {
	if s := k.more[id]; s != nil {
		return s, nil
	}
	return k.Signers.Signer(ctx, id)
}

// lessKeys are keys without some of them.
type lessKeys struct {
	Signers
	without map[string]bool
}

func (k lessKeys) Signer(ctx context.Context, id string) (signature.Signer, error) {
	if k.without[id] {
		return nil, ErrNoKey
	}
	return k.Signers.Signer(ctx, id)
}

// noKeys holds none.
type noKeys struct{}

func (noKeys) Signer(context.Context, string) (signature.Signer, error) { return nil, ErrNoKey }

// rotate publishes a new root in which each role (not root) has one new key
// instead of its old one. With withOld the old keys sign this change, too. It
// returns the keys that are there afterwards.
func rotate(t *testing.T, r *Repository, keys Signers, withOld bool, roles ...string) Signers {
	t.Helper()
	e, err := r.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	data, err := e.state.root.ToBytes(false)
	if err != nil {
		t.Fatal(err)
	}
	if e.state.root, err = parse[tuf.RootType](data); err != nil {
		t.Fatal(err)
	}
	both := moreKeys{keys, make(map[string]signature.Signer)}
	after := lessKeys{both, make(map[string]bool)}
	for _, role := range roles {
		private, err := GenerateKey(Ed25519)
		if err != nil {
			t.Fatal(err)
		}
		key, id, err := tufKey(private.Public())
		if err != nil {
			t.Fatal(err)
		}
		if both.more[id], err = NewSigner(private); err != nil {
			t.Fatal(err)
		}
		for _, old := range slices.Clone(e.state.root.Signed.Roles[role].KeyIDs) {
			after.without[old] = true
			if err := e.state.root.Signed.RevokeKey(old, role); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.state.root.Signed.AddKey(key, role); err != nil {
			t.Fatal(err)
		}
		if role != Timestamp {
			e.changed[role] = true
		}
	}
	e.changed[Root], e.gap = true, true
	now := Signers(after)
	if withOld {
		now = both
	}
	if _, err := e.Commit(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	return after
}

// node is a machine that follows stable on amd64 with tufboot's own client and
// keeps what it has seen.
type node struct {
	t    *testing.T
	from storage.Reader
	root []byte
	dir  string
	now  time.Time
}

func newNode(t *testing.T, from storage.Reader, now time.Time) *node {
	t.Helper()
	root, _, err := storage.ReadFile(t.Context(), from, "metadata/1.root.json", maxMetadata)
	if err != nil {
		t.Fatal(err)
	}
	return &node{t, from, root, t.TempDir(), now}
}

func (n *node) client() *client.Client {
	n.t.Helper()
	c, err := client.New(client.Options{
		Server: "http://mirror.invalid", Root: n.root, Dir: n.dir,
		Now: func() time.Time { return n.now }, Transport: storage.Transport{From: n.from},
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

// update refreshes, resolves and downloads, and returns the version.
func (n *node) update() (string, error) {
	c := n.client()
	if err := c.Refresh(n.t.Context()); err != nil {
		return "", err
	}
	return n.download(c)
}

func (n *node) download(c *client.Client) (string, error) {
	release, err := c.Resolve(n.t.Context(), "stable", "amd64")
	if err != nil {
		return "", err
	}
	for _, a := range release.Release.Artifacts() {
		if err := c.Download(n.t.Context(), a, nil, io.Discard, nil); err != nil {
			return "", err
		}
	}
	return release.Release.Version, nil
}

// sees checks what the node is updated to.
func (n *node) sees(want ...string) {
	n.t.Helper()
	got, err := n.update()
	if err != nil {
		n.t.Fatalf("the node fails: %v", err)
	}
	if !slices.Contains(want, got) {
		n.t.Fatalf("the node sees %q, want one of %q", got, want)
	}
}

// memPublish publishes a release at the store's time.
func memPublish(t *testing.T, r *Repository, keys Signers, version string) {
	t.Helper()
	if _, err := r.Publish(t.Context(), release(t, keys, version, version)); err != nil {
		t.Fatal(err)
	}
}
