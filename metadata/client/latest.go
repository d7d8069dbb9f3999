package client

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"tufboot/metadata"
)

const memoryFile = "latest.json"

// memory is what is kept of the last time that a channel was followed: under
// which metadata, and where it led. Under the same metadata it leads there again.
//
// It is not trusted: see Latest.
type memory struct {
	Root     string    `json:"root"`     // SHA-256 of the newest root.json
	Snapshot string    `json:"snapshot"` // SHA-256 of snapshot.json, by the timestamp
	Expires  time.Time `json:"expires"`  // when the first of what was read expires
	Channel  string    `json:"channel"`
	SHA256   string    `json:"sha256"` // of the channel's file
}

// Latest is Refresh and ResolveFor in one, for a node that has a release and
// asks whether there is a newer one.
//
// Where root and snapshot are those of the last time, nothing has expired and
// the channel led to the release that the node has, that is the answer: snapshot
// and targets are not read again, whose size grows with the repository's.
// Nothing can be downloaded then before Refresh. So what is kept of the last time
// can only say that there is nothing new, and that only as long as the server's
// signed timestamp names the same snapshot; all else is verified anew.
func (c *Client) Latest(ctx context.Context, channel, arch, booted string, have metadata.ID) (*Resolved, error) {
	r, unlock, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if same := r.recall(channel, arch, booted, have); same != nil {
		if err := c.store.saveClock(r.ref); err != nil {
			return nil, err
		}
		c.trusted, c.ref = r.t, r.ref
		return same, nil
	}
	if err := r.finish(ctx); err != nil {
		return nil, err
	}
	resolved, err := c.ResolveFor(ctx, channel, arch, booted)
	if err != nil {
		return nil, err
	}
	r.remember(ctx, channel)
	return resolved, nil
}

// recall returns the release that the channel led to the last time, if that is
// the one that the node has and nothing has changed since; else nil.
func (r *refresh) recall(channel, arch, booted string, have metadata.ID) *Resolved {
	data, err := r.store.read(memoryFile, 4096)
	if err != nil {
		return nil
	}
	var m memory
	if json.Unmarshal(data, &m) != nil || m.Channel != channel ||
		m.Root != fmt.Sprintf("%x", r.rootSum) || m.Snapshot == "" || m.Snapshot != r.snapshotSum() || r.ref.time.After(m.Expires) {
		return nil
	}
	ch, err := metadata.ParseChannel(r.content(m.SHA256))
	if err != nil || ch.Name != channel {
		return nil
	}
	ref, err := ch.Choose(arch, booted)
	if err != nil || ref.SHA256 != have {
		return nil
	}
	manifest := r.content(string(have))
	release, err := metadata.ParseRelease(manifest)
	if err != nil || release.Version != ref.Version || release.Arch != arch {
		return nil
	}
	return (&Resolved{Release: release, Manifest: manifest, ID: have}).by(ch, ref, arch)
}

// content returns the kept small file with this hash, or nil.
func (r *refresh) content(sum string) []byte {
	if len(sum) != 2*sha256.Size || !filepath.IsLocal(sum) {
		return nil
	}
	data, err := r.store.read(filepath.Join(contentDir, sum), metadata.MaxManifestSize)
	if err != nil || fmt.Sprintf("%x", sha256.Sum256(data)) != sum {
		return nil
	}
	return data
}

// snapshotSum returns the hash of the snapshot that the timestamp names; "" where
// it gives none.
func (r *refresh) snapshotSum() string {
	info := r.t.Timestamp.Signed.Meta[snapshotFile]
	if info == nil || len(info.Hashes["sha256"]) != sha256.Size {
		return ""
	}
	return fmt.Sprintf("%x", []byte(info.Hashes["sha256"]))
}

// remember keeps where a channel led. Failing to is no failure of the caller: the
// next check reads everything.
func (r *refresh) remember(ctx context.Context, channel string) {
	info, err := r.lookup(ctx, metadata.ChannelTarget(channel))
	if err != nil {
		return
	}
	m := memory{
		Root: fmt.Sprintf("%x", r.rootSum), Snapshot: r.snapshotSum(), Expires: r.t.Snapshot.Signed.Expires,
		Channel: channel, SHA256: fmt.Sprintf("%x", []byte(info.Hashes["sha256"])),
	}
	for _, role := range r.t.Targets {
		if role.Signed.Expires.Before(m.Expires) {
			m.Expires = role.Signed.Expires
		}
	}
	data, err := json.Marshal(m)
	if err != nil {
		return
	}
	if kept, err := r.store.read(memoryFile, 4096); err == nil && string(kept) == string(data) {
		return
	}
	if err := r.store.write(memoryFile, data); err != nil {
		r.log.Warn("cannot keep what was found; the next check reads everything", "file", r.store.path(memoryFile), "error", err)
	}
}
