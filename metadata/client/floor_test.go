package client_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
	"tufboot/metadata/chunks"
	"tufboot/metadata/client"
)

// A timestamp that has expired on the node is still one that was seen: an older one that
// lives longer is a rollback.
func TestExpiredTimestampIsAFloor(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	r.life[tuf.TIMESTAMP] = 100 * day
	r.publishTimestamp()
	old := r.read("timestamp.json")
	r.life[tuf.TIMESTAMP] = day
	r.publishTimestamp()
	must(t, refresh(t, opts))
	opts.Now = func() time.Time { return epoch.Add(10 * day) }
	r.write("timestamp.json", old)
	for range 2 { // the first refusal must not forget what it refused for
		wantReason(t, refresh(t, opts), client.ReasonRollback)
	}
}

// A channel file that is not what was signed is not read, however well it reads.
func TestSmallFilesAreVerified(t *testing.T) {
	r := newRepo(t, "repo")
	a := r.put("channels/stable.json", r.content["channels/stable.json"])
	r.publish()
	path := filepath.Join(r.dir, "targets", metadata.HashedPath(a.Target, a.SHA256))
	changed := bytes.ReplaceAll(r.content["channels/stable.json"], []byte(`"v1"`), []byte(`"v9"`))
	if bytes.Equal(changed, r.content["channels/stable.json"]) {
		t.Fatal("nothing was changed")
	}
	must(t, os.WriteFile(path, changed, 0o600))
	_, err := refreshed(t, options(t, r, fileURL(r))).Resolve(t.Context(), "stable", "amd64")
	wantReason(t, err, client.ReasonBadHash)
}

// A chunk map that is longer than one can be is not even asked for.
func TestLongChunkMapIsNotFetched(t *testing.T) {
	r := newRepo(t, "repo")
	of := metadata.Artifact{Target: "kernel", Length: 1 << 20}
	m := metadata.Artifact{Target: "kernel.chunks", Length: metadata.MaxChunkMap(of.Length) + 1}
	_, usage, err := refreshed(t, options(t, r, fileURL(r))).ChunkMap(t.Context(), m, of)
	if !errors.Is(err, chunks.ErrFormat) || usage.Requests > 0 {
		t.Errorf("%d requests, %v", usage.Requests, err)
	}
}
