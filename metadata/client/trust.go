package client

import (
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// Held is one role's metadata as kept on this node. Version is 0 when none is
// kept, or what is kept does not verify.
type Held struct {
	Version int64     `json:"version"`
	Expires time.Time `json:"expires,omitzero"`
	Expired bool      `json:"expired"`
}

// Trust is what a node holds of the repository's metadata.
type Trust struct {
	Root      Held `json:"root"`
	Timestamp Held `json:"timestamp"`
	Snapshot  Held `json:"snapshot"`
	Targets   Held `json:"targets"`
	// BuiltInRoot is the version of the root that came with the release.
	BuiltInRoot int64 `json:"built_in_root"`
	// LastRefresh is the reference time of the last complete refresh; zero: none.
	LastRefresh time.Time `json:"last_refresh,omitzero"`
	// Reference is the time that Expired was judged by.
	Reference time.Time `json:"reference_time"`
}

// Trust returns what is held, verified from the built-in root, without the
// network and without changing anything. It works before, after and without a
// Refresh.
func (c *Client) Trust() Trust {
	t, _ := readTrust(c.opts) // New has verified the built-in root
	return t
}

// LocalTrust is Trust for a caller that has no client; of opts it uses Root,
// Dir, Now and ClockFloor. An error says that Root is not usable.
func LocalTrust(opts Options) (Trust, error) {
	return readTrust(withDefaults(opts))
}

func readTrust(opts Options) (Trust, error) {
	s := &store{dir: opts.Dir, log: opts.Logger}
	trusted, err := loadRoot(opts.Root)
	if err != nil {
		return Trust{}, err
	}
	lastSeen, _ := s.readClock() // damaged: as if never seen
	ref := newReference(opts.Now(), opts.ClockFloor, lastSeen)
	result := Trust{
		BuiltInRoot: trusted.Root.Signed.Version,
		LastRefresh: lastSeen,
		Reference:   ref.time,
	}
	for range maxRotations {
		data, err := s.read(rootFile(trusted.Root.Signed.Version+1), maxRoot)
		if err != nil || guard(func() error { _, err := trusted.UpdateRoot(data); return err }) != nil {
			break
		}
	}
	held := func(version int64, expires time.Time) Held {
		return Held{Version: version, Expires: expires.UTC(), Expired: ref.time.After(expires)}
	}
	result.Root = held(trusted.Root.Signed.Version, trusted.Root.Signed.Expires)
	if md := readRole(s, trusted, tuf.Timestamp(), tuf.TIMESTAMP, maxTimestamp); md != nil {
		result.Timestamp = held(md.Signed.Version, md.Signed.Expires)
	}
	if md := readRole(s, trusted, tuf.Snapshot(), tuf.SNAPSHOT, maxSnapshot); md != nil {
		result.Snapshot = held(md.Signed.Version, md.Signed.Expires)
	}
	if md := readRole(s, trusted, tuf.Targets(), tuf.TARGETS, maxTargets); md != nil {
		result.Targets = held(md.Signed.Version, md.Signed.Expires)
	}
	return result, nil
}

// readRole returns a kept role's metadata if the root verifies it.
func readRole[T tuf.Roles](s *store, trusted *trustedmetadata.TrustedMetadata, md *tuf.Metadata[T], role string, limit int64) *tuf.Metadata[T] {
	data, err := s.read(role+".json", limit)
	if err != nil {
		return nil
	}
	err = guard(func() error {
		if _, err := md.FromBytes(data); err != nil {
			return err
		}
		return trusted.Root.VerifyDelegate(role, md)
	})
	if err != nil {
		return nil
	}
	return md
}
