package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// ReasonNoTarget is the reason code for a target that no role vouches for.
const ReasonNoTarget = "no-such-target"

// Explanation says who vouches for targets, by which keys: the chain that a
// client walks to them.
type Explanation struct {
	Place string    `json:"place"`
	At    time.Time `json:"at"`
	// Roots are all versions of root.json, the first one first. The last one is
	// what the others rest on.
	Roots []Link `json:"roots"`
	// Roles are timestamp and snapshot, and the targets roles on the way to the
	// targets, each once.
	Roles []Link `json:"roles"`
	// Targets are what was asked for and what it leads to, in that order.
	Targets []Trace `json:"targets"`
	// Found says that all of them are signed for, and that their files are there.
	Found bool `json:"found"`
}

// Link is one piece of metadata and the keys that have signed it.
type Link struct {
	Role    string    `json:"role"`
	File    string    `json:"file"`
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
	Expired bool      `json:"expired,omitempty"`
	// By is the role that says who may sign, and for which targets.
	By        string     `json:"by"`
	Threshold int        `json:"threshold"`
	Keys      []ChainKey `json:"keys"`
	// Before is what the root before has to say of a root.
	Before *Before `json:"before,omitempty"`
	// Paths are the patterns by which the role is asked for a target, Bin says
	// that it is by the hash of the target's name.
	Paths       []string `json:"paths,omitempty"`
	Bin         bool     `json:"bin,omitempty"`
	Terminating bool     `json:"terminating,omitempty"` // no role after it is asked
}

// ChainKey is a key that may sign, and whether it has.
type ChainKey struct {
	KeyStatus
	Signed bool `json:"signed"`
}

// Before counts the keys of the root before that have signed a root.
type Before struct {
	Threshold int `json:"threshold"`
	Keys      int `json:"keys"`
	Signed    int `json:"signed"`
}

// What a target is to the one that leads to it.
const (
	TraceTarget   = "target" // what was asked for by name
	TraceChannel  = "channel"
	TraceManifest = "manifest"
	TraceArtifact = "artifact"
)

// Trace is the way to a target.
type Trace struct {
	Kind   string `json:"kind"`
	Target string `json:"target"`
	// Path are the roles on the way, from targets on, if it was found.
	Path []string `json:"path,omitempty"`
	// Looked are the roles that were asked, in that order.
	Looked []Look `json:"looked"`
	Length int64  `json:"length,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	File   string `json:"file,omitempty"` // relative to the repository
	// Pinned is the SHA-256 that the file says which leads here.
	Pinned string `json:"pinned,omitempty"`
	// Version and Arch are of the release, where it is one's manifest.
	Version string `json:"version,omitempty"`
	Arch    string `json:"arch,omitempty"`
	// Problem says what is wrong: not found, missing, or not what was pinned.
	Problem string `json:"problem,omitempty"`
}

// Look is a role that was asked for a target.
type Look struct {
	Role   string `json:"role"`
	Answer string `json:"answer"` // what it says, for people
}

// ExplainTarget explains who vouches for a target. Signatures, lengths and
// hashes of all metadata are verified, expiry is only told; of the target itself
// the length is looked at. If no role vouches for it, the explanation says where
// was looked, and the error wraps [ErrNotFound].
func ExplainTarget(ctx context.Context, from storage.Reader, target string, opts Options) (_ *Explanation, err error) {
	defer recoverMalformed(&err)
	x, err := newExplainer(ctx, from, opts)
	if err != nil {
		return nil, err
	}
	if _, err := x.trace(ctx, TraceTarget, target, ""); err != nil {
		return nil, err
	}
	return x.finish()
}

// ExplainChannel explains who vouches for a channel, the release that it points
// to for an architecture, and the release's files.
func ExplainChannel(ctx context.Context, from storage.Reader, channel, arch string, opts Options) (_ *Explanation, err error) {
	defer recoverMalformed(&err)
	if err := metadata.CheckChannel(channel); err != nil {
		return nil, badValue(err)
	}
	if err := metadata.CheckArch(arch); err != nil {
		return nil, badValue(err)
	}
	x, err := newExplainer(ctx, from, opts)
	if err != nil {
		return nil, err
	}
	if err := x.channel(ctx, channel, arch); err != nil {
		return nil, err
	}
	return x.finish()
}

type explainer struct {
	*Explanation
	st      *state
	known   map[string]bool // roles that are in Roles
	refused error           // what was asked for is not there
}

func newExplainer(ctx context.Context, from storage.Reader, opts Options) (*explainer, error) {
	st, err := load(ctx, from)
	if err != nil {
		return nil, err
	}
	x := &explainer{
		Explanation: &Explanation{Place: from.String(), At: newRepository(nil, opts).clock(), Roles: []Link{}},
		st:          st, known: make(map[string]bool),
	}
	if err := x.roots(ctx); err != nil {
		return nil, err
	}
	for _, r := range []struct {
		name, file string
		md         any
	}{
		{Timestamp, timestampFile, st.timestamp},
		{Snapshot, versionedFile(Snapshot, st.snapshot.Signed.Version), st.snapshot},
	} {
		link, err := x.link(liveRole{r.name, Root}, r.file, r.md)
		if err != nil {
			return nil, err
		}
		x.Roles = append(x.Roles, link)
	}
	return x, nil
}

// roots explains the chain of roots.
func (x *explainer) roots(ctx context.Context) error {
	files, err := ReadRoots(ctx, x.st.from)
	if err != nil {
		return err
	}
	var before *tuf.Metadata[tuf.RootType]
	for i, data := range files {
		md, err := parse[tuf.RootType](data)
		if err != nil {
			return invalid("root version %d: %w", i+1, err)
		}
		a, err := rootAuthority(&md.Signed, Root)
		if err != nil {
			return err
		}
		link := x.linkOf(a, Root, versionedFile(Root, md.Signed.Version), md)
		if before != nil {
			if a, err = rootAuthority(&before.Signed, Root); err != nil {
				return err
			}
			link.Before = &Before{Threshold: a.threshold, Keys: len(a.ids)}
			for _, key := range a.signed(md) {
				if key.Signed {
					link.Before.Signed++
				}
			}
		}
		x.Roots = append(x.Roots, link)
		before = md
	}
	return nil
}

// link explains a role below root.
func (x *explainer) link(r liveRole, file string, md any) (Link, error) {
	a, err := x.st.authority(r.name, r.parent)
	if err != nil {
		return Link{}, err
	}
	link := x.linkOf(a, r.parent, file, md)
	if d := x.st.delegation(r); d != nil {
		link.Paths, link.Terminating = d.Paths, d.Terminating
	} else if r.parent != Root {
		link.Bin, link.Terminating = true, true // TAP 15: bins always are
	}
	return link, nil
}

func (x *explainer) linkOf(a authority, by, file string, md any) Link {
	version, expires := versionAndExpiry(md)
	return Link{
		Role: a.role, File: file, Version: version, Expires: expires.UTC(), Expired: x.At.After(expires),
		By: by, Threshold: a.threshold, Keys: a.signed(md),
	}
}

// signed returns the role's keys and which of them have signed md, each looked at
// alone by go-tuf.
func (a authority) signed(md any) []ChainKey {
	keys := make([]ChainKey, 0, len(a.ids))
	for _, id := range a.ids {
		k := ChainKey{KeyStatus: KeyStatus{ID: id}}
		if key := a.keys[id]; key != nil {
			k.Type = KeyType(key.Type)
			k.Signed = signedBy(a.role, id, key, md)
		}
		keys = append(keys, k)
	}
	return keys
}

func signedBy(role, id string, key *tuf.Key, md any) bool {
	alone := tuf.Root()
	alone.Signed.Keys = map[string]*tuf.Key{id: key}
	alone.Signed.Roles = map[string]*tuf.Role{role: {KeyIDs: []string{id}, Threshold: 1}}
	err := func() (err error) {
		defer recoverMalformed(&err)
		return alone.VerifyDelegate(role, md)
	}()
	return err == nil
}

// finish returns the explanation, with an error where a target was not found.
func (x *explainer) finish() (*Explanation, error) {
	x.Found = x.refused == nil
	for _, t := range x.Targets {
		if t.Problem != "" {
			x.Found = false
			if t.Path == nil {
				return x.Explanation, refuse(ReasonNoTarget, "list shows what there is", "target %s: %w", t.Target, ErrNotFound)
			}
			return x.Explanation, invalid("target %s: %s", t.Target, t.Problem)
		}
	}
	return x.Explanation, x.refused
}

// channel explains a channel and what it leads to.
func (x *explainer) channel(ctx context.Context, name, arch string) error {
	target := metadata.ChannelTarget(name)
	if good, err := x.trace(ctx, TraceChannel, target, ""); err != nil || !good {
		return err
	}
	at := &x.Targets[len(x.Targets)-1]
	channel, err := x.st.readChannel(ctx, target)
	if problem, err := problemOf(err); err != nil || problem != "" {
		at.Problem = problem
		return err
	}
	ref, ok := channel.Releases[arch]
	if !ok {
		x.refused = refuse(ReasonNoRelease, "channel show says which it has", "channel %s has no release for %s: %w", name, arch, ErrNotFound)
		return nil
	}
	good, err := x.trace(ctx, TraceManifest, ref.Target, string(ref.SHA256))
	if err != nil {
		return err
	}
	at = &x.Targets[len(x.Targets)-1]
	if at.Version, at.Arch = ref.Version, arch; !good {
		return nil
	}
	data, err := x.st.readTarget(ctx, ref.Target)
	if problem, err := problemOf(err); err != nil || problem != "" {
		at.Problem = problem
		return err
	}
	release, err := metadata.ParseRelease(data)
	if err != nil {
		at.Problem = err.Error()
		return nil //nolint:nilerr // it is told
	}
	for _, a := range release.Targets() {
		if _, err := x.trace(ctx, TraceArtifact, a.Target, a.SHA256); err != nil {
			return err
		}
	}
	return nil
}

// problemOf tells what is wrong with a target from what is wrong with the store.
func problemOf(err error) (string, error) {
	var wrong *InvalidError
	if errors.As(err, &wrong) {
		return err.Error(), nil
	}
	return "", err
}

// present looks whether a target's file is there with its length.
func (x *explainer) present(ctx context.Context, t *Trace) error {
	info, err := x.st.from.Stat(ctx, t.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.Problem = "its file is missing"
	case err != nil:
		return err
	case info.Size >= 0 && info.Size != t.Length:
		t.Problem = fmt.Sprintf("its file has %d bytes, not %d", info.Size, t.Length)
	}
	return nil
}
