package repository

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// signedSchema is the version of the form of what a signer keeps.
const signedSchema = 1

// signerMemory is what a signer keeps of the event signed last. The base was
// published, by the signatures on it; what was signed may have been dropped.
type signerMemory struct {
	Schema int             `json:"schema"`
	Base   *signedVersions `json:"base,omitempty"` // none: it made a new repository
	Signed signedVersions  `json:"signed"`
}

type signedVersions struct {
	Root    signedVersion  `json:"root"`
	Targets *signedVersion `json:"targets,omitempty"`
}

// signedVersion names a piece of metadata whoever has signed it.
type signedVersion struct {
	Version int64  `json:"version"`
	SHA256  string `json:"sha256"` // of what is signed, in hex
}

func versionOf[T tuf.Roles](md *tuf.Metadata[T], version int64) (*signedVersion, error) {
	message, err := payload(md)
	if err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	sum := sha256.Sum256(message)
	return &signedVersion{version, hex.EncodeToString(sum[:])}, nil
}

// Memory returns what a signer of the event keeps, to find out later by
// [Event.CheckMemory] events that start from an older state. before is what
// the signer kept so far, nil for nothing: an event that leaves targets alone
// does not forget them.
func (e *Event) Memory(before []byte) ([]byte, error) {
	m := &signerMemory{Schema: signedSchema}
	now, err := e.proposed()
	if err != nil {
		return nil, err
	}
	if m.Base, err = e.base(); err != nil {
		return nil, err
	}
	if now.root == nil {
		now.root = &m.Base.Root
	}
	m.Signed = signedVersions{*now.root, now.targets}
	if before != nil && e.targets == nil {
		old, err := parseMemory(before)
		if err != nil {
			return nil, err
		}
		m.Signed.Targets = old.Signed.Targets
		if old.Base != nil {
			m.Base.Targets = old.Base.Targets
		}
	}
	data, err := json.MarshalIndent(m, "", "  ")
	return append(data, '\n'), err
}

func parseMemory(data []byte) (*signerMemory, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	m := new(signerMemory)
	if err := d.Decode(m); err != nil || m.Schema != signedSchema || m.Signed.Root.Version < 1 {
		return nil, refuse(ReasonUntrusted, "restore it from your copy of the keys; without it, compare with --trusted-root and --trusted-targets",
			"what you signed last cannot be read (schema %d, error %v)", m.Schema, err)
	}
	return m, nil
}

// proposal is what an event proposes, nil where it leaves things alone.
type proposal struct{ root, targets *signedVersion }

func (e *Event) proposed() (p proposal, err error) {
	if e.root != nil {
		if p.root, err = versionOf(e.root, e.root.Signed.Version); err != nil {
			return p, err
		}
	}
	if e.targets != nil {
		p.targets, err = versionOf(e.targets, e.targets.Signed.Version)
	}
	return p, err
}

// base returns what the event starts from, nil for a new repository.
func (e *Event) base() (*signedVersions, error) {
	if e.New() {
		return nil, nil
	}
	root, err := versionOf(e.baseRoot, e.baseRoot.Signed.Version)
	if err != nil {
		return nil, err
	}
	b := &signedVersions{Root: *root}
	if e.baseTargets != nil {
		b.Targets, err = versionOf(e.baseTargets, e.baseTargets.Signed.Version)
	}
	return b, err
}

// CheckMemory reports whether the event starts from what the signer signed
// last, or from something newer, or is that event itself. Otherwise it is
// refused with ReasonUntrusted: published, it would undo what was agreed on
// since. memory is what [Event.Memory] returned.
//
// With dropped, the signer says that the event signed last was never
// published: then this one must start from what that one started from, or
// from something newer.
func (e *Event) CheckMemory(memory []byte, dropped bool) error {
	m, err := parseMemory(memory)
	if err != nil {
		return err
	}
	const ask = "do not sign: ask for an event that starts from what is published now"
	if m.Base != nil {
		if err := e.follows(*m.Base, proposal{}, "the event that you signed last started from", ask); err != nil {
			return err
		}
	}
	if dropped {
		return nil
	}
	now, err := e.proposed()
	if err != nil {
		return err
	}
	return e.follows(m.Signed, now, "you signed last",
		ask+"; only if what you signed last was never published, and never will be, give --unsafe-older-base")
}

// follows reports whether the event starts from a state or from a later one,
// or proposes that state.
func (e *Event) follows(state signedVersions, now proposal, what, advice string) error {
	if p := now.root; p == nil || *p != state.Root {
		if err := e.followsRoot(state.Root, what, advice); err != nil {
			return err
		}
	}
	want := state.Targets
	if e.targets == nil || want == nil || now.targets != nil && *now.targets == *want {
		return nil
	}
	var have signedVersion
	if e.baseTargets != nil {
		v, err := versionOf(e.baseTargets, e.baseTargets.Signed.Version)
		if err != nil {
			return err
		}
		have = *v
	}
	return compareBase(Targets, have, *want, what, advice)
}

// followsRoot looks the root up in the row of those that are published.
func (e *Event) followsRoot(want signedVersion, what, advice string) error {
	have := signedVersion{Version: int64(len(e.roots))}
	if want.Version >= 1 && want.Version <= have.Version {
		root, err := parse[tuf.RootType](e.roots[want.Version-1])
		if err != nil {
			return badEvent("published root %d: %w", want.Version, err)
		}
		v, err := versionOf(root, want.Version)
		if err != nil {
			return err
		}
		have = *v
	}
	return compareBase(Root, have, want, what, advice)
}

func compareBase(role string, have, want signedVersion, what, advice string) error {
	switch {
	case have.Version < want.Version:
		return refuse(ReasonUntrusted, advice, "event: it starts from %s version %d, and %s version %d: it would undo what came since",
			role, have.Version, what, want.Version)
	case have.Version == want.Version && have.SHA256 != want.SHA256:
		return refuse(ReasonUntrusted, advice, "event: its %s version %d is not the one that %s", role, have.Version, what)
	}
	return nil
}

// CheckTrustedTargets reports whether the event starts from the targets.json
// that the signer saw or signed last, or from a newer one. trusted is that
// file, from the signer's own keeping. An event that leaves targets as they are
// starts from none, and passes.
func (e *Event) CheckTrustedTargets(trusted []byte) error {
	md, err := parse[tuf.TargetsType](trusted)
	if err != nil {
		return invalid("trusted targets: %w", err)
	}
	if e.New() {
		return refuse(ReasonUntrusted, "leave the trusted targets out for a repository that is not there yet",
			"event: it makes a new repository and starts from no targets")
	}
	if e.targets == nil {
		return nil
	}
	want, err := versionOf(md, md.Signed.Version)
	if err != nil {
		return err
	}
	return e.follows(signedVersions{Root: signedVersion{}, Targets: want}, proposal{}, "you trust",
		"do not sign: ask for an event that starts from what is published now")
}
