package client

import (
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"tufboot/metadata/quick"
)

// What follows does the same as functions of go-tuf, for long files, in less time
// (see package quick). It only accepts: where anything is not as it should be, it
// changes nothing and go-tuf's function is asked, which says what is wrong.

// updateSnapshot is UpdateSnapshot of go-tuf (TUF specification, section 5.5).
func updateSnapshot(t *trustedmetadata.TrustedMetadata, data []byte, kept bool) error {
	if md := quickSnapshot(t, data, kept); md != nil {
		t.Snapshot = md
		if !isFinal(t) {
			return errOutdated
		}
		return nil
	}
	_, err := t.UpdateSnapshot(data, kept)
	return err
}

// quickSnapshot returns a snapshot that may be taken; one that was kept may be
// older than the timestamp says: it is still a floor.
func quickSnapshot(t *trustedmetadata.TrustedMetadata, data []byte, kept bool) *tuf.Metadata[tuf.SnapshotType] {
	if t.Timestamp == nil || t.Timestamp.Signed.IsExpired(t.RefTime) || len(t.Targets) > 0 {
		return nil
	}
	info := t.Timestamp.Signed.Meta[snapshotFile]
	if info == nil || !kept && info.VerifyLengthHashes(data) != nil {
		return nil
	}
	md := quick.Read[tuf.SnapshotType](t.Root, tuf.SNAPSHOT, data)
	if md == nil || !kept && (md.Signed.Version != info.Version || md.Signed.IsExpired(t.RefTime)) {
		return nil
	}
	if t.Snapshot != nil {
		for name, was := range t.Snapshot.Signed.Meta {
			if is := md.Signed.Meta[name]; is == nil || was == nil || is.Version < was.Version {
				return nil
			}
		}
	}
	return md
}

// isFinal reports whether the snapshot is the one that the timestamp names, and
// may be used.
func isFinal(t *trustedmetadata.TrustedMetadata) bool {
	if t.Timestamp == nil || t.Snapshot == nil || t.Snapshot.Signed.IsExpired(t.RefTime) {
		return false
	}
	info := t.Timestamp.Signed.Meta[snapshotFile]
	return info != nil && info.Version == t.Snapshot.Signed.Version
}

// updateTargets is UpdateDelegatedTargets of go-tuf (section 5.6).
func updateTargets(t *trustedmetadata.TrustedMetadata, data []byte, role, parent string) error {
	if md := quickTargets(t, data, role, parent); md != nil {
		t.Targets[role] = md
		return nil
	}
	_, err := t.UpdateDelegatedTargets(data, role, parent)
	return err
}

func quickTargets(t *trustedmetadata.TrustedMetadata, data []byte, role, parent string) *tuf.Metadata[tuf.TargetsType] {
	if !isFinal(t) {
		return nil
	}
	info := t.Snapshot.Signed.Meta[role+roleSuffix]
	if info == nil || info.VerifyLengthHashes(data) != nil {
		return nil
	}
	var by quick.Delegator = t.Root
	if parent != tuf.ROOT {
		above := t.Targets[parent]
		if above == nil {
			return nil
		}
		by = above
	}
	md := quick.Read[tuf.TargetsType](by, role, data)
	if md == nil || md.Signed.Version != info.Version || md.Signed.IsExpired(t.RefTime) {
		return nil
	}
	return md
}
