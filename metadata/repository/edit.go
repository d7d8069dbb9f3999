package repository

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"

	"github.com/sigstore/sigstore/pkg/signature"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
)

// Versions are the versions of the four roles' metadata.
type Versions struct {
	Root      int64 `json:"root"`
	Targets   int64 `json:"targets"`
	Snapshot  int64 `json:"snapshot"`
	Timestamp int64 `json:"timestamp"`
}

// Edit is a change in the making, by the one writer that holds the lock.
// Nothing of it is visible to readers until [Edit.Commit]. End it with Close.
type Edit struct {
	repo    *Repository
	state   *state
	policy  Policy
	signers map[string][]signature.Signer
	changed map[string]bool // roles that Commit writes, besides those that follow
	unlock  func()
}

// Edit locks the repository and starts a change. A repository that another
// process edits is refused with ReasonLocked.
func (r *Repository) Edit() (*Edit, error) {
	unlock, err := r.store.Lock()
	if err != nil {
		return nil, err
	}
	st, err := load(r.store)
	if err != nil {
		unlock()
		return nil, err
	}
	return &Edit{
		repo:    r,
		state:   st,
		policy:  policyOf(&st.root.Signed),
		signers: make(map[string][]signature.Signer),
		changed: make(map[string]bool),
		unlock:  unlock,
	}, nil
}

// Close frees the lock. What was not committed is forgotten.
func (e *Edit) Close() { e.unlock() }

// Unlock gets the signers for roles ready: passwords are asked for and missing
// keys are found out here, before long work starts.
func (e *Edit) Unlock(ctx context.Context, keys Signers, roles ...string) error {
	for _, role := range roles {
		if e.signers[role] != nil {
			continue
		}
		signers, err := signersFor(ctx, &e.state.root.Signed, role, keys)
		if err != nil {
			return err
		}
		e.signers[role] = signers
	}
	return nil
}

// Target returns a target's length and hash, if the repository has it.
func (e *Edit) Target(name string) (metadata.Artifact, bool) {
	return e.state.target(name)
}

func (st *state) target(name string) (metadata.Artifact, bool) {
	t := st.targets.Signed.Targets[name]
	if t == nil {
		return metadata.Artifact{}, false
	}
	return metadata.Artifact{Target: name, Length: t.Length, SHA256: sumOf(t)}, true
}

// ReadTarget returns the bytes of a small target (a manifest or channel file).
// Errors wrap [ErrNotFound] if the repository has no such target.
func (e *Edit) ReadTarget(name string) ([]byte, error) {
	return readTarget(e.repo.store, e.state, name)
}

func readTarget(s store, st *state, name string) ([]byte, error) {
	t := st.targets.Signed.Targets[name]
	if t == nil {
		return nil, fmt.Errorf("target %s: %w", name, ErrNotFound)
	}
	if t.Length > metadata.MaxManifestSize {
		return nil, invalid("target %s has %d bytes", name, t.Length)
	}
	data, err := s.Read(targetFile(name, sumOf(t)))
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", name, err)
	}
	if err := t.VerifyLengthHashes(data); err != nil {
		return nil, invalid("target %s: %w", name, err)
	}
	return data, nil
}

// AddFile copies a file into the repository as a target, hashing it on the
// way: the file is read once, in constant memory. progress may be nil.
func (e *Edit) AddFile(ctx context.Context, target, path string, progress func(done int64)) (metadata.Artifact, error) {
	if err := metadata.CheckTarget(target); err != nil {
		return metadata.Artifact{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return metadata.Artifact{}, fmt.Errorf("target %s: %w", target, err)
	}
	defer f.Close()
	src := &source{ctx: ctx, r: f, progress: progress}
	sum, length, err := e.repo.store.Import(src, func(sum string) string { return targetFile(target, sum) })
	if err != nil {
		return metadata.Artifact{}, fmt.Errorf("target %s from %s: %w", target, path, err)
	}
	return e.set(target, sum, length)
}

// AddBytes puts a small target into the repository.
func (e *Edit) AddBytes(target string, data []byte) (metadata.Artifact, error) {
	if err := metadata.CheckTarget(target); err != nil {
		return metadata.Artifact{}, err
	}
	sum, length, err := e.repo.store.Import(bytes.NewReader(data), func(sum string) string { return targetFile(target, sum) })
	if err != nil {
		return metadata.Artifact{}, fmt.Errorf("target %s: %w", target, err)
	}
	return e.set(target, sum, length)
}

func (e *Edit) set(target, sum string, length int64) (metadata.Artifact, error) {
	hash, err := hex.DecodeString(sum)
	if err != nil {
		return metadata.Artifact{}, fmt.Errorf("target %s: hash: %w", target, err)
	}
	e.state.targets.Signed.Targets[target] = &tuf.TargetFiles{
		Length: length,
		Hashes: tuf.Hashes{"sha256": hash},
		Path:   target,
	}
	e.changed[Targets] = true
	return metadata.Artifact{Target: target, Length: length, SHA256: sum}, nil
}
