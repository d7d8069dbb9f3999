package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// signersFor returns the signers that keys hold for a role, at least as many
// as its threshold.
func signersFor(ctx context.Context, root *tuf.RootType, role string, keys Signers) ([]signature.Signer, error) {
	r := root.Roles[role]
	if r == nil {
		return nil, invalid("root version %d has no role %s", root.Version, role)
	}
	var signers []signature.Signer
	for _, id := range r.KeyIDs {
		s, err := keys.Signer(ctx, id)
		if errors.Is(err, ErrNoKey) {
			continue
		} else if err != nil {
			return nil, err
		}
		signers = append(signers, s)
	}
	if len(signers) < r.Threshold {
		return nil, refuse(ReasonNotEnoughKeys, "name the folder that holds them with --keys",
			"role %s needs signatures by %d of its %d keys, and %d are here", role, r.Threshold, len(r.KeyIDs), len(signers))
	}
	return signers, nil
}

// sign signs md with each signer. A signature by the same key is replaced:
// go-tuf's Sign appends, and a file with two signatures by one key cannot be
// loaded again.
func sign[T tuf.Roles](md *tuf.Metadata[T], signers []signature.Signer) error {
	for _, s := range signers {
		public, err := s.PublicKey()
		if err != nil {
			return fmt.Errorf("sign: %w", err)
		}
		id, err := KeyID(public)
		if err != nil {
			return fmt.Errorf("sign: %w", err)
		}
		md.Signatures = slices.DeleteFunc(md.Signatures, func(sig tuf.Signature) bool { return sig.KeyID == id })
		if _, err := md.Sign(s); err != nil {
			return fmt.Errorf("sign with key %s: %w", shortID(id), err)
		}
	}
	return nil
}

// signNew signs md anew, after its content has changed, checks the result as a
// client will, and encodes it.
func signNew[T tuf.Roles](root *tuf.Metadata[tuf.RootType], role string, md *tuf.Metadata[T], signers []signature.Signer) ([]byte, error) {
	md.Signatures = []tuf.Signature{}
	if err := sign(md, signers); err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	if err := root.VerifyDelegate(role, md); err != nil {
		return nil, fmt.Errorf("%s: the new signatures do not verify: %w", role, err)
	}
	data, err := md.ToBytes(true)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	return data, nil
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
