package client_test

import (
	"bytes"
	"net/http"
	"slices"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/client"
)

func TestRefreshResolveDownload(t *testing.T) {
	r := newRepo(t, "repo")
	s := serve(t, r)
	for _, address := range []string{s.URL, s.URL + "/", fileURL(r), fileURL(r) + "/"} {
		t.Run(address, func(t *testing.T) {
			c := open(t, options(t, r, address))
			must(t, c.Refresh(t.Context()))
			resolved, err := c.Resolve(t.Context(), "stable", "amd64")
			must(t, err)
			if resolved.Release.Version != "v1" || resolved.Channel != "stable" {
				t.Errorf("resolved %s of channel %q", resolved.Release.Version, resolved.Channel)
			}
			byVersion, err := c.ReleaseByVersion(t.Context(), "v1", "amd64")
			must(t, err)
			if byVersion.ID != resolved.ID || !bytes.Equal(byVersion.Manifest, resolved.Manifest) {
				t.Errorf("by version: %s, by channel: %s", byVersion.ID, resolved.ID)
			}
			for _, a := range resolved.Release.Artifacts() {
				var got bytes.Buffer
				must(t, c.Download(t.Context(), a, nil, &got, nil))
				if !bytes.Equal(got.Bytes(), r.content[a.Target]) {
					t.Errorf("%s: got %q", a.Target, got.Bytes())
				}
			}
		})
	}
}

// A node that is up to date asks twice: for the next root and for the timestamp.
func TestUpToDateCheckMakesTwoRequests(t *testing.T) {
	r := newRepo(t, "repo")
	r.rotate(tuf.TIMESTAMP, "timestamp2")
	r.publish()
	s := serve(t, r)
	opts := options(t, r, s.URL)
	check := func() {
		t.Helper()
		c := open(t, opts) // a new process each time
		must(t, c.Refresh(t.Context()))
		_, err := c.Resolve(t.Context(), "stable", "amd64")
		must(t, err)
	}
	check()
	if n := len(s.taken()); n <= 2 {
		t.Fatalf("the first check made %d requests: nothing is counted", n)
	}
	for range 3 {
		check()
		want := []string{"/metadata/3.root.json", "/metadata/timestamp.json"}
		if got := s.taken(); !slices.Equal(got, want) {
			t.Errorf("requests %q, want %q", got, want)
		}
	}
	s.connections()
	check()
	if got := s.connections(); got != 1 {
		t.Errorf("%d connections for a check, want one", got)
	}
	r.now = r.now.Add(day)
	s.taken()
	r.publishTimestamp() // refreshed, nothing else changed
	check()
	if got := s.taken(); len(got) != 2 {
		t.Errorf("after a new timestamp alone: requests %q", got)
	}
}

// Each row makes a repository that a client with good kept metadata, and one
// without, must refuse.
func TestRefusals(t *testing.T) {
	flip := func(data []byte, old, new string) []byte {
		if !bytes.Contains(data, []byte(old)) {
			panic("nothing to change: " + old)
		}
		return bytes.ReplaceAll(data, []byte(old), []byte(new))
	}
	tests := []struct {
		name   string
		broken func(r *repo)
		reason string
		kept   bool // only a client with kept metadata can know
	}{
		{"expired timestamp", func(r *repo) { r.life[tuf.TIMESTAMP] = -day; r.publishTimestamp() }, client.ReasonExpired, false},
		{"expired snapshot", func(r *repo) { r.life[tuf.SNAPSHOT] = -day; r.publishSnapshot(); r.publishTimestamp() }, client.ReasonExpired, false},
		{"expired targets", func(r *repo) { r.life[tuf.TARGETS] = -day; r.publish() }, client.ReasonExpired, false},
		{"expired root", func(r *repo) { r.life[tuf.ROOT] = -day; r.signRoot() }, client.ReasonExpired, false},
		{"timestamp rolled back", func(r *repo) {
			r.version[tuf.TIMESTAMP] -= 2
			r.publishTimestamp()
		}, client.ReasonRollback, true},
		{"snapshot rolled back", func(r *repo) {
			r.version[tuf.SNAPSHOT] -= 2
			r.publishSnapshot()
			r.publishTimestamp()
		}, client.ReasonRollback, true},
		{"targets rolled back", func(r *repo) {
			r.version[tuf.TARGETS] -= 2
			r.publish()
		}, client.ReasonRollback, true},
		{"snapshot forgets a role", func(r *repo) {
			md := tuf.Snapshot(r.expires(tuf.SNAPSHOT))
			md.Signed.Version = r.next(tuf.SNAPSHOT)
			delete(md.Signed.Meta, "targets.json")
			md.Signed.Meta["other.json"] = tuf.MetaFile(1)
			sign(r.t, md, r.keys[tuf.SNAPSHOT]...)
			r.write(r.file(tuf.SNAPSHOT), encode(r.t, md))
			r.publishTimestamp()
		}, client.ReasonRollback, true},
		{"old snapshot for a new timestamp", func(r *repo) {
			old := r.read(r.file(tuf.SNAPSHOT))
			r.publish()
			r.write(r.file(tuf.SNAPSHOT), old)
		}, client.ReasonBadHash, false},
		{"targets of another snapshot", func(r *repo) {
			old := r.read(r.file(tuf.TARGETS))
			r.publish()
			r.write(r.file(tuf.TARGETS), old)
		}, client.ReasonBadHash, false},
		{"timestamp changed", func(r *repo) {
			r.publishTimestamp()
			r.write("timestamp.json", flip(r.read("timestamp.json"), `"version":`, `"version":1`))
		}, client.ReasonBadSignature, false},
		{"timestamp not signed", func(r *repo) {
			md := tuf.Timestamp(r.expires(tuf.TIMESTAMP))
			md.Signed.Version = r.next(tuf.TIMESTAMP)
			r.write("timestamp.json", encode(r.t, md))
		}, client.ReasonBadSignature, false},
		{"timestamp of another repository", func(r *repo) {
			other := newRepo(r.t, "other")
			r.write("timestamp.json", other.read("timestamp.json"))
		}, client.ReasonWrongRoot, false},
		{"timestamp signed by the snapshot's key", func(r *repo) {
			r.keys[tuf.TIMESTAMP] = r.keys[tuf.SNAPSHOT]
			r.publishTimestamp()
		}, client.ReasonBadSignature, false},
		{"timestamp signed by a key that was replaced", func(r *repo) {
			old := r.keys[tuf.TIMESTAMP]
			r.rotate(tuf.TIMESTAMP, "timestamp2")
			r.keys[tuf.TIMESTAMP] = old
			r.publishTimestamp()
		}, client.ReasonBadSignature, false},
		{"root by other keys", func(r *repo) {
			r.keys[tuf.ROOT] = []key{newKey(r.t, "thief")}
			r.signRoot() // without the key before
		}, client.ReasonWrongRoot, false},
		{"root not signed by its own keys", func(r *repo) {
			md := r.nextRoot()
			sign(r.t, md, r.keys[tuf.ROOT]...)
			old := r.keys[tuf.ROOT]
			r.version[tuf.ROOT]--
			r.keys[tuf.ROOT] = []key{newKey(r.t, "new")}
			md = r.nextRoot()
			sign(r.t, md, old...)
			r.write("2.root.json", encode(r.t, md))
		}, client.ReasonWrongRoot, false},
		{"root skips a version", func(r *repo) {
			r.version[tuf.ROOT]++
			r.signRoot()
			r.write("2.root.json", r.read("3.root.json"))
		}, client.ReasonMalformed, false},
		{"root repeated as the next", func(r *repo) { r.write("2.root.json", r.read("1.root.json")) }, client.ReasonRollback, false},
		{"timestamp is a web page", func(r *repo) { r.write("timestamp.json", []byte("<html>log in</html>")) }, client.ReasonMalformed, false},
		{"root is a web page", func(r *repo) { r.write("2.root.json", []byte("<html>log in</html>")) }, client.ReasonMalformed, false},
		{"timestamp empty", func(r *repo) { r.write("timestamp.json", nil) }, client.ReasonMalformed, false},
		{"timestamp cut short", func(r *repo) {
			data := r.read("timestamp.json")
			r.write("timestamp.json", data[:len(data)/2])
		}, client.ReasonMalformed, false},
		{"timestamp too long", func(r *repo) {
			r.write("timestamp.json", bytes.Repeat([]byte(" "), 1<<20))
		}, client.ReasonBadLength, false},
		{"targets cut short", func(r *repo) {
			r.publish()
			data := r.read(r.file(tuf.TARGETS))
			r.write(r.file(tuf.TARGETS), data[:len(data)/2])
		}, client.ReasonBadHash, false},
		{"targets too long", func(r *repo) {
			r.publish()
			r.write(r.file(tuf.TARGETS), append(r.read(r.file(tuf.TARGETS)), ' '))
		}, client.ReasonBadLength, false},
		{"timestamp names no snapshot", func(r *repo) {
			md := tuf.Timestamp(r.expires(tuf.TIMESTAMP))
			md.Signed.Version = r.next(tuf.TIMESTAMP)
			md.Signed.Meta = map[string]*tuf.MetaFiles{"other.json": tuf.MetaFile(1)}
			sign(r.t, md, r.keys[tuf.TIMESTAMP]...)
			r.write("timestamp.json", encode(r.t, md))
		}, client.ReasonMalformed, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRepo(t, "repo")
			r.release("v2", "stable")
			fresh, known := options(t, r, fileURL(r)), options(t, r, fileURL(r))
			must(t, refresh(t, known))
			before, err := client.LocalTrust(known)
			must(t, err)
			test.broken(r)
			wantReason(t, refresh(t, known), test.reason)
			if !test.kept {
				wantReason(t, refresh(t, fresh), test.reason)
			}
			after, err := client.LocalTrust(known)
			must(t, err)
			if wentBack(before, after) {
				t.Errorf("kept metadata went from %+v to %+v", before, after)
			}
		})
	}
}

// wentBack reports whether any role's kept version is lower than before. After a
// new root the others may have to start over, with new keys.
func wentBack(before, after client.Trust) bool {
	if after.Root.Version > before.Root.Version {
		return false
	}
	return after.Root.Version < before.Root.Version ||
		after.Timestamp.Version < before.Timestamp.Version ||
		after.Snapshot.Version < before.Snapshot.Version ||
		after.Targets.Version < before.Targets.Version
}

// A null entry makes the library panic before it has checked a signature.
func TestPanicsOfTheLibraryAreErrors(t *testing.T) {
	tests := []struct{ name, file, old, new string }{
		{"null target", tuf.TARGETS, `"targets":{`, `"targets":{"x":null,`},
		{"null hash list", tuf.SNAPSHOT, `"meta":{`, `"meta":{"a.json":null,`},
		{"null snapshot", tuf.TIMESTAMP, `"meta":{"snapshot.json":`, `"meta":{"snapshot.json":null,"x":`},
		{"null signed", tuf.TIMESTAMP, `"signed":`, `"signed":null,"x":`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRepo(t, "repo")
			// Without hashes, so that the parser sees the file.
			md := tuf.Snapshot(r.expires(tuf.SNAPSHOT))
			md.Signed.Version = r.next(tuf.SNAPSHOT)
			sign(t, md, r.keys[tuf.SNAPSHOT]...)
			r.write(r.file(tuf.SNAPSHOT), encode(t, md))
			ts := tuf.Timestamp(r.expires(tuf.TIMESTAMP))
			ts.Signed.Version = r.next(tuf.TIMESTAMP)
			ts.Signed.Meta["snapshot.json"] = tuf.MetaFile(r.version[tuf.SNAPSHOT])
			sign(t, ts, r.keys[tuf.TIMESTAMP]...)
			r.write("timestamp.json", encode(t, ts))
			data := r.read(r.file(test.file))
			changed := bytes.Replace(data, []byte(test.old), []byte(test.new), 1)
			if bytes.Equal(changed, data) {
				t.Fatalf("nothing changed in %s", data)
			}
			r.write(r.file(test.file), changed)
			err := refresh(t, options(t, r, fileURL(r)))
			if err == nil {
				t.Fatal("accepted")
			}
			t.Log(err)
		})
	}
}

func TestRootRotations(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	must(t, refresh(t, opts))
	r.rotate(tuf.ROOT, "root2")
	r.rotate(tuf.ROOT, "root3")
	r.rotate(tuf.TARGETS, "targets2")
	r.publish()
	must(t, refresh(t, opts))
	trust, err := client.LocalTrust(opts)
	must(t, err)
	if trust.Root.Version != 4 || trust.BuiltInRoot != 1 {
		t.Errorf("root %d from built-in %d, want 4 from 1", trust.Root.Version, trust.BuiltInRoot)
	}
	fresh := options(t, r, fileURL(r))
	must(t, refresh(t, fresh))
}

// An intermediate root may be expired; only the last one must not be.
func TestExpiredIntermediateRootIsPassed(t *testing.T) {
	r := newRepo(t, "repo")
	r.life[tuf.ROOT] = -day
	r.signRoot()
	r.life[tuf.ROOT] = 365 * day
	r.signRoot()
	must(t, refresh(t, options(t, r, fileURL(r))))
}

// Stores that hide what may not be listed answer 403 for the next root.
func TestNoNewerRoot(t *testing.T) {
	r := newRepo(t, "repo")
	s := serve(t, r)
	for status, reason := range map[int]string{
		403: "", 404: "", 410: "",
		401: client.ReasonServerError, 400: client.ReasonServerError,
		500: client.ReasonServerError, 503: client.ReasonServerError,
	} {
		s.setFault(on(".root.json", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		err := refresh(t, options(t, r, s.URL))
		if reason == "" {
			if err != nil {
				t.Errorf("%d: %v", status, err)
			}
			continue
		}
		wantReason(t, err, reason)
	}
}

// A thief of the online keys sets their numbers to the highest and is then
// locked out by new keys: his numbers must not outlive them.
func TestRecoveryFromFastForward(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	must(t, refresh(t, opts))
	honest := map[string]int64{tuf.SNAPSHOT: r.version[tuf.SNAPSHOT], tuf.TIMESTAMP: r.version[tuf.TIMESTAMP], tuf.TARGETS: r.version[tuf.TARGETS]}
	for role := range honest {
		r.version[role] = 1 << 40
	}
	r.publish()
	must(t, refresh(t, opts))
	for role, v := range honest {
		r.version[role] = v
	}
	r.publish()
	wantReason(t, refresh(t, opts), client.ReasonRollback)
	r.rotate(tuf.TIMESTAMP, "timestamp2")
	r.rotate(tuf.SNAPSHOT, "snapshot2")
	r.publish()
	must(t, refresh(t, opts))
	must(t, refresh(t, opts))
}

// With an unchanging server the metadata expires, and that is reported, not
// hidden by what is kept.
func TestFreeze(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	must(t, refresh(t, opts))
	opts.Now = func() time.Time { return epoch.Add(8 * day) }
	wantReason(t, refresh(t, opts), client.ReasonExpired)
	r.now = epoch.Add(8 * day)
	r.publish()
	must(t, refresh(t, opts))
}

func TestNotRefreshed(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	c := open(t, opts)
	if _, err := c.Resolve(t.Context(), "stable", "amd64"); err == nil {
		t.Error("resolved without a refresh")
	}
	must(t, c.Refresh(t.Context()))
	r.write("timestamp.json", []byte("garbage"))
	if err := c.Refresh(t.Context()); err == nil {
		t.Fatal("accepted garbage")
	}
	if _, err := c.Resolve(t.Context(), "stable", "amd64"); err == nil {
		t.Error("resolved after a failed refresh")
	}
}
