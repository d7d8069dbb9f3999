package quick

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"

	"github.com/sigstore/sigstore/pkg/signature"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// Delegator is the metadata of a role that says which keys sign another: of root,
// or of targets and the roles below.
type Delegator interface {
	VerifyDelegate(role string, md any) error
}

// Read returns a role's metadata if by, the metadata of the role above it, names
// the keys that have signed it; nil: go-tuf has to be asked. T is a snapshot or
// targets role; Read knows no other.
func Read[T tuf.Roles](by Delegator, name string, data []byte) *tuf.Metadata[T] {
	var md any
	switch any((*T)(nil)).(type) {
	case *tuf.SnapshotType:
		md = decodeSnapshot(data)
	case *tuf.TargetsType:
		md = decodeTargets(data)
	}
	read, ok := md.(*tuf.Metadata[T])
	if !ok || read == nil {
		return nil
	}
	payload, err := Payload(read)
	if err != nil || !verify(by, name, payload, read.Signatures) {
		return nil
	}
	return read
}

// verify reports whether enough keys of a role have signed payload.
func verify(by Delegator, name string, payload []byte, signatures []tuf.Signature) bool {
	signed := make(map[string][]byte, len(signatures))
	for _, s := range signatures {
		if _, twice := signed[s.KeyID]; twice {
			return false
		}
		signed[s.KeyID] = s.Signature
	}
	ids, threshold, keys := keysOf(by, name)
	if threshold < 1 {
		return false
	}
	good := make(map[[sha256.Size]byte]bool) // keys, which may be there under two ids
	for _, id := range ids {
		key := keys[id]
		if key == nil {
			return false
		}
		public, err := key.ToPublicKey()
		if err != nil {
			return false
		}
		if !verifies(key, public, payload, signed[id]) {
			continue
		}
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			return false
		}
		good[sha256.Sum256(der)] = true
	}
	return len(good) >= threshold
}

// keysOf returns who may sign a role.
func keysOf(by Delegator, name string) (ids []string, threshold int, keys map[string]*tuf.Key) {
	switch by := by.(type) {
	case *tuf.Metadata[tuf.RootType]:
		if r := by.Signed.Roles[name]; r != nil {
			return r.KeyIDs, r.Threshold, by.Signed.Keys
		}
	case *tuf.Metadata[tuf.TargetsType]:
		d := by.Signed.Delegations
		if d == nil {
			return nil, 0, nil
		}
		for _, r := range d.Roles {
			if r.Name == name {
				return r.KeyIDs, r.Threshold, d.Keys
			}
		}
		if s := d.SuccinctRoles; d.Roles == nil && s != nil {
			return s.KeyIDs, s.Threshold, d.Keys
		}
	}
	return nil, 0, nil
}

// verifies reports whether a key has signed payload, with the verifier that
// go-tuf uses for it (TUF specification, section 4.2).
func verifies(key *tuf.Key, public crypto.PublicKey, payload, sig []byte) bool {
	var verifier signature.Verifier
	var err error
	if rsaKey, ok := public.(*rsa.PublicKey); ok {
		verifier, err = signature.LoadRSAPSSVerifier(rsaKey, crypto.SHA256, &rsa.PSSOptions{Hash: crypto.SHA256})
	} else {
		verifier, err = signature.LoadVerifier(public, hashOf(key))
	}
	return err == nil && verifier.VerifySignature(bytes.NewReader(sig), bytes.NewReader(payload)) == nil
}

func hashOf(key *tuf.Key) crypto.Hash {
	switch {
	case key.Type == tuf.KeyTypeEd25519:
		return crypto.Hash(0) // it signs the message itself
	case key.Scheme == tuf.KeySchemeECDSA_SHA2_P384:
		return crypto.SHA384
	}
	return crypto.SHA256
}
