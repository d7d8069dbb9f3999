package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/sigstore/sigstore/pkg/signature"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/quick"
)

// authority is who may sign a role's metadata, as the role that delegates to it
// says.
type authority struct {
	role      string
	ids       []string
	threshold int
	keys      map[string]*tuf.Key
}

// authority returns who may sign a role. The role's parent must be loaded.
func (st *state) authority(role, parent string) (authority, error) {
	if isTopLevel(role) {
		return rootAuthority(&st.root.Signed, role)
	}
	p := st.roles[parent]
	if p == nil || p.md.Signed.Delegations == nil {
		return authority{}, invalid("nothing delegates to role %s", role)
	}
	d := p.md.Signed.Delegations
	if d.Roles == nil && d.SuccinctRoles != nil {
		return authority{role, d.SuccinctRoles.KeyIDs, d.SuccinctRoles.Threshold, d.Keys}, nil
	}
	for _, r := range d.Roles {
		if r.Name == role {
			return authority{role, r.KeyIDs, r.Threshold, d.Keys}, nil
		}
	}
	return authority{}, invalid("role %s does not delegate to role %s", parent, role)
}

func rootAuthority(root *tuf.RootType, role string) (authority, error) {
	r := root.Roles[role]
	if r == nil {
		return authority{}, invalid("root version %d has no role %s", root.Version, role)
	}
	return authority{role, r.KeyIDs, r.Threshold, root.Keys}, nil
}

// roleSigner signs under the id that the repository gives its key. In a
// repository made by another tool that is not the id that we would give it.
type roleSigner struct {
	id     string
	signer signature.Signer
	// turn, unless nil, keeps signatures apart that an Edit makes at the same
	// time: a device, which may hold several roles' keys, may not do two.
	turn *sync.Mutex
}

func (s roleSigner) sign(message []byte) ([]byte, error) {
	if s.turn != nil {
		s.turn.Lock()
		defer s.turn.Unlock()
	}
	sig, err := s.signer.SignMessage(bytes.NewReader(message))
	if err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", shortID(s.id), err)
	}
	return sig, nil
}

// available returns the signers that keys hold for the role, perhaps fewer than
// its threshold.
func (a authority) available(ctx context.Context, keys Signers) ([]roleSigner, error) {
	var signers []roleSigner
	for _, id := range a.ids {
		own, err := ownKeyID(a.keys[id])
		if err != nil {
			continue // a key that we cannot use; another may do
		}
		s, err := keys.Signer(ctx, own)
		if errors.Is(err, ErrNoKey) {
			continue
		} else if err != nil {
			return nil, err
		}
		signers = append(signers, roleSigner{id: id, signer: s})
	}
	return signers, nil
}

// signers returns the signers that keys hold for the role, at least as many as
// its threshold.
func (a authority) signers(ctx context.Context, keys Signers) ([]roleSigner, error) {
	signers, err := a.available(ctx, keys)
	if err != nil {
		return nil, err
	}
	if len(signers) < a.threshold {
		return nil, refuse(ReasonNotEnoughKeys, "name the folder that holds them with --keys",
			"role %s needs signatures by %d of its %d keys, and %d are here", a.role, a.threshold, len(a.ids), len(signers))
	}
	return signers, nil
}

// ownKeyID returns the id that we give a key, whatever the repository calls it.
func ownKeyID(key *tuf.Key) (string, error) {
	if key == nil {
		return "", errors.New("no such key")
	}
	public, err := key.ToPublicKey()
	if err != nil {
		return "", err
	}
	return KeyID(public)
}

// payload returns what is signed: the signed part in canonical JSON (TUF
// specification, section 4.1).
func payload[T tuf.Roles](md *tuf.Metadata[T]) ([]byte, error) {
	if message, err := quick.Payload(md); err == nil {
		return message, nil
	}
	return cjson.EncodeCanonical(md.Signed)
}

// sign signs md with each signer and returns what was signed. A signature by the
// same key is replaced: a file with two signatures by one key cannot be loaded
// again.
func sign[T tuf.Roles](md *tuf.Metadata[T], signers []roleSigner) ([]byte, error) {
	message, err := payload(md)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	for _, s := range signers {
		sig, err := s.sign(message)
		if err != nil {
			return nil, err
		}
		md.Signatures = slices.DeleteFunc(md.Signatures, func(old tuf.Signature) bool { return old.KeyID == s.id })
		md.Signatures = append(md.Signatures, tuf.Signature{KeyID: s.id, Signature: sig})
	}
	return message, nil
}

// signNew signs md anew, after its content has changed, checks the result as a
// client will, and encodes it.
func signNew[T tuf.Roles](by authority, md *tuf.Metadata[T], signers []roleSigner) ([]byte, error) {
	md.Signatures = []tuf.Signature{}
	message, err := sign(md, signers)
	if err == nil {
		err = by.verify(message, md.Signatures)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", by.role, err)
	}
	if entries(md) > readableEntries && len(md.UnrecognizedFields) == 0 {
		if data, err := encodeLong(message, md.Signatures); err == nil {
			return data, nil
		}
	}
	return encode(by.role, md)
}

// verify checks that enough of the role's keys have signed the message. It is
// how go-tuf does it (VerifyDelegate), which would encode the message anew for
// each check; what is published was verified by go-tuf when it is loaded again.
func (a authority) verify(message []byte, signatures []tuf.Signature) error {
	good := make(map[string]bool) // by the key itself: it may be there under two ids
	for _, sig := range signatures {
		key := a.keys[sig.KeyID]
		if key == nil || !slices.Contains(a.ids, sig.KeyID) {
			continue
		}
		public, err := key.ToPublicKey()
		if err != nil {
			return err
		}
		if err := verifySignature(public, message, sig.Signature); err != nil {
			return fmt.Errorf("the new signature by key %s: %w", shortID(sig.KeyID), err)
		}
		own, err := KeyID(public)
		if err != nil {
			return err
		}
		good[own] = true
	}
	if len(good) < a.threshold || a.threshold < 1 {
		return refuse(ReasonNotEnoughKeys, "name the folder that holds them with --keys",
			"signed by %d keys, and %d are needed", len(good), a.threshold)
	}
	return nil
}

// readableEntries is up to how many targets, or roles in a snapshot, a file is
// indented for people. Nodes fetch longer ones again and again.
const readableEntries = 32

// encodeLong makes the same file as encode, without encoding its entries again:
// canonical JSON is JSON, but for control characters in names, which are an error.
func encodeLong(message []byte, signatures []tuf.Signature) ([]byte, error) {
	return json.Marshal(struct {
		Signatures []tuf.Signature `json:"signatures"`
		Signed     json.RawMessage `json:"signed"`
	}{signatures, message})
}

func encode[T tuf.Roles](role string, md *tuf.Metadata[T]) ([]byte, error) {
	data, err := md.ToBytes(entries(md) <= readableEntries)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	return data, nil
}

func entries(md any) int {
	switch md := md.(type) {
	case *tuf.Metadata[tuf.TargetsType]:
		return len(md.Signed.Targets)
	case *tuf.Metadata[tuf.SnapshotType]:
		return len(md.Signed.Meta)
	}
	return 0
}

// versionAndExpiry returns what all roles' metadata have in common.
func versionAndExpiry(md any) (version int64, expires time.Time) {
	switch md := md.(type) {
	case *tuf.Metadata[tuf.RootType]:
		return md.Signed.Version, md.Signed.Expires
	case *tuf.Metadata[tuf.TargetsType]:
		return md.Signed.Version, md.Signed.Expires
	case *tuf.Metadata[tuf.SnapshotType]:
		return md.Signed.Version, md.Signed.Expires
	case *tuf.Metadata[tuf.TimestampType]:
		return md.Signed.Version, md.Signed.Expires
	}
	return 0, time.Time{}
}
