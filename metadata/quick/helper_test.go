package quick_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/sigstore/sigstore/pkg/signature"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

var expires = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keys makes a key of every kind that the specification has; the ids are their
// names.
func keys(t testing.TB) (map[string]*tuf.Key, map[string]signature.Signer) {
	t.Helper()
	ids, signers := make(map[string]*tuf.Key), make(map[string]signature.Signer)
	add := func(id string, private crypto.Signer, hash crypto.Hash) {
		key, err := tuf.KeyFromPublicKey(private.Public())
		must(t, err)
		var signer signature.Signer
		switch private := private.(type) {
		case *rsa.PrivateKey:
			signer, err = signature.LoadRSAPSSSigner(private, crypto.SHA256, &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: rsa.PSSSaltLengthEqualsHash})
		default:
			signer, err = signature.LoadSigner(private, hash)
		}
		must(t, err)
		if hash == crypto.SHA384 {
			key.Scheme = tuf.KeySchemeECDSA_SHA2_P384
		}
		ids[id], signers[id] = key, signer
	}
	for _, id := range []string{"a", "b", "c"} {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		must(t, err)
		add(id, private, crypto.Hash(0))
	}
	for id, curve := range map[string]elliptic.Curve{"ecdsa": elliptic.P256(), "ecdsa-384": elliptic.P384()} {
		private, err := ecdsa.GenerateKey(curve, rand.Reader)
		must(t, err)
		add(id, private, map[string]crypto.Hash{"ecdsa": crypto.SHA256, "ecdsa-384": crypto.SHA384}[id])
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	add("rsa", private, crypto.SHA256)
	return ids, signers
}

// sign signs with keys that have these ids.
func sign[T tuf.Roles](t testing.TB, md *tuf.Metadata[T], signers map[string]signature.Signer, ids ...string) []byte {
	t.Helper()
	message, err := cjson.EncodeCanonical(md.Signed)
	must(t, err)
	md.Signatures = nil
	for _, id := range ids {
		sig, err := signers[id].SignMessage(bytes.NewReader(message))
		must(t, err)
		md.Signatures = append(md.Signatures, tuf.Signature{KeyID: id, Signature: sig})
	}
	data, err := md.ToBytes(false)
	must(t, err)
	return data
}

func root(keys map[string]*tuf.Key, role string, threshold int, ids ...string) *tuf.Metadata[tuf.RootType] {
	md := tuf.Root(expires)
	md.Signed.Keys = keys
	md.Signed.Roles[role] = &tuf.Role{KeyIDs: ids, Threshold: threshold}
	return md
}

func snapshot(n int) *tuf.Metadata[tuf.SnapshotType] {
	md := tuf.Snapshot(expires)
	for i := range n {
		m := tuf.MetaFile(int64(i + 1))
		m.Length, m.Hashes = int64(1000+i), tuf.Hashes{"sha256": bytes.Repeat([]byte{byte(i)}, 32)}
		if i%2 == 0 {
			m.UnrecognizedFields = map[string]any{"x-tufboot-expires": "2027-01-01T00:00:00Z"}
		}
		md.Signed.Meta[fmt.Sprintf("releases-%02x.json", i)] = m
	}
	return md
}

func targets(n int) *tuf.Metadata[tuf.TargetsType] {
	md := tuf.Targets(expires)
	for i := range n {
		name := fmt.Sprintf("releases/1.%d+é/amd64/vmlinuz", i)
		md.Signed.Targets[name] = &tuf.TargetFiles{
			Length: int64(i), Path: name,
			Hashes: tuf.Hashes{"sha256": bytes.Repeat([]byte{byte(i)}, 32), "sha512": bytes.Repeat([]byte{byte(i)}, 64)},
		}
	}
	return md
}

// plain makes nothing of what go-tuf makes empty.
func plain[T tuf.Roles](md *tuf.Metadata[T]) *tuf.Metadata[T] {
	md.UnrecognizedFields = nil
	for i := range md.Signatures {
		md.Signatures[i].UnrecognizedFields = nil
	}
	switch md := any(md).(type) {
	case *tuf.Metadata[tuf.SnapshotType]:
		md.Signed.UnrecognizedFields = nil
		for _, m := range md.Signed.Meta {
			if len(m.UnrecognizedFields) == 0 {
				m.UnrecognizedFields = nil
			}
		}
	case *tuf.Metadata[tuf.TargetsType]:
		md.Signed.UnrecognizedFields = nil
		for _, f := range md.Signed.Targets {
			f.UnrecognizedFields = nil
		}
	}
	return md
}
