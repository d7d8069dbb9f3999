package client_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
	"tufboot/metadata/client"
)

// refreshed is a client after a refresh.
func refreshed(t testing.TB, opts client.Options) *client.Client {
	t.Helper()
	c := open(t, opts)
	must(t, c.Refresh(t.Context()))
	return c
}

func TestResolveNotFound(t *testing.T) {
	r := newRepo(t, "repo")
	_, ref := r.manifest("v2")
	ref.Target = metadata.ReleaseTarget("v3", "amd64", metadata.ManifestFile)
	r.point("dangling", ref)
	r.publish()
	c := refreshed(t, options(t, r, fileURL(r)))
	for channel, arch := range map[string]string{"beta": "amd64", "stable": "arm64", "dangling": "amd64"} {
		_, err := c.Resolve(t.Context(), channel, arch)
		wantReason(t, err, client.ReasonNotFound)
		if !strings.Contains(err.Error(), channel) {
			t.Errorf("%v: does not name the channel", err)
		}
	}
	_, err := c.ReleaseByVersion(t.Context(), "v9", "amd64")
	wantReason(t, err, client.ReasonNotFound)
	err = c.Download(t.Context(), metadata.Artifact{Target: "none", Length: 1}, nil, io.Discard, nil)
	wantReason(t, err, client.ReasonNotFound)
}

func TestResolveRefusesNames(t *testing.T) {
	r := newRepo(t, "repo")
	c := refreshed(t, options(t, r, fileURL(r)))
	for _, name := range []string{"", "..", "../x", "a/b", "A", "a\x00"} {
		if _, err := c.Resolve(t.Context(), name, "amd64"); !errors.Is(err, metadata.ErrFormat) {
			t.Errorf("channel %q: %v", name, err)
		}
		if _, err := c.Resolve(t.Context(), "stable", name); !errors.Is(err, metadata.ErrFormat) {
			t.Errorf("architecture %q: %v", name, err)
		}
	}
	if _, err := c.ReleaseByVersion(t.Context(), "../v1", "amd64"); !errors.Is(err, metadata.ErrFormat) {
		t.Errorf("version: %v", err)
	}
}

// A repository without consistent snapshots has plain names.
func TestPlainNames(t *testing.T) {
	r := newRepo(t, "repo")
	opts := options(t, r, fileURL(r))
	r.plain = true
	r.signRoot()
	r.release("v2", "stable")
	c := refreshed(t, opts)
	resolved, err := c.Resolve(t.Context(), "stable", "amd64")
	must(t, err)
	must(t, c.Download(t.Context(), resolved.Release.Kernel, nil, io.Discard, nil))
}

// Signed content that does not fit together.
func TestResolveRefusals(t *testing.T) {
	tests := []struct {
		name   string
		spoil  func(r *repo)
		reason string
	}{
		{"channel is garbage", func(r *repo) { r.put("channels/stable.json", []byte("garbage")) }, client.ReasonMalformed},
		{"channel is another", func(r *repo) {
			_, ref := r.manifest("v1")
			r.point("beta", ref)
			r.put("channels/stable.json", r.content["channels/beta.json"])
		}, client.ReasonMalformed},
		{"channel is huge", func(r *repo) { r.put("channels/stable.json", make([]byte, metadata.MaxManifestSize+1)) }, client.ReasonBadLength},
		{"channel has no SHA-256", func(r *repo) {
			r.targets.Signed.Targets["channels/stable.json"].Hashes = tuf.Hashes{"sha512": make([]byte, 64)}
		}, client.ReasonMalformed},
		{"channel has a negative length", func(r *repo) {
			r.targets.Signed.Targets["channels/stable.json"].Length = -1
		}, client.ReasonMalformed},
		{"manifest is garbage", func(r *repo) {
			a := r.put(metadata.ReleaseTarget("v1", "amd64", metadata.ManifestFile), []byte("garbage"))
			r.point("stable", metadata.ReleaseRef{Version: "v1", Target: a.Target, SHA256: metadata.ID(a.SHA256)})
		}, client.ReasonMalformed},
		{"manifest of another version", func(r *repo) {
			_, ref := r.manifest("v2")
			ref.Version = "v3"
			r.point("stable", ref)
		}, client.ReasonMalformed},
		{"manifest of another hash", func(r *repo) {
			_, ref := r.manifest("v2")
			ref.SHA256 = metadata.ID(strings.Repeat("0", 64))
			r.point("stable", ref)
		}, client.ReasonBadHash},
		{"kernel's length disagrees", func(r *repo) {
			release, ref := r.manifest("v2")
			r.targets.Signed.Targets[release.Kernel.Target].Length++
			r.point("stable", ref)
		}, client.ReasonBadLength},
		{"initramfs's hash disagrees", func(r *repo) {
			release, ref := r.manifest("v2")
			r.put(release.Initramfs.Target, []byte(strings.Repeat("x", int(release.Initramfs.Length))))
			r.point("stable", ref)
		}, client.ReasonBadHash},
		{"kernel is not signed", func(r *repo) {
			release, ref := r.manifest("v2")
			delete(r.targets.Signed.Targets, release.Kernel.Target)
			r.point("stable", ref)
		}, client.ReasonNotFound},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRepo(t, "repo")
			test.spoil(r)
			r.publish()
			_, err := refreshed(t, options(t, r, fileURL(r))).Resolve(t.Context(), "stable", "amd64")
			wantReason(t, err, test.reason)
		})
	}
}

// delegated is a repository whose releases are in a delegated role.
func delegated(t testing.TB, change func(*tuf.Delegations)) *repo {
	t.Helper()
	r := newRepo(t, "repo")
	r.keys["releases"] = []key{newKey(t, "delegated")}
	id, err := r.keys["releases"][0].public.ID()
	must(t, err)
	below := make(map[string]*tuf.TargetFiles)
	for name, info := range r.targets.Signed.Targets {
		if strings.HasPrefix(name, "releases/") {
			below[name] = info
			delete(r.targets.Signed.Targets, name)
		}
	}
	d := &tuf.Delegations{
		Keys: map[string]*tuf.Key{id: r.keys["releases"][0].public},
		Roles: []tuf.DelegatedRole{
			{Name: "releases", KeyIDs: []string{id}, Threshold: 1, Paths: []string{"releases/*/*/*"}},
		},
	}
	if change != nil {
		change(d)
	}
	r.targets.Signed.Delegations = d
	r.delegate("releases", below, nil)
	r.publish()
	return r
}

func TestDelegatedReleases(t *testing.T) {
	r := delegated(t, nil)
	s := serve(t, r)
	opts := options(t, r, s.URL)
	check := func() {
		t.Helper()
		_, err := refreshed(t, opts).Resolve(t.Context(), "stable", "amd64")
		must(t, err)
	}
	check()
	s.taken()
	check()
	if got := s.taken(); len(got) != 2 {
		t.Errorf("requests %q, want two", got)
	}
	kept := sortedKeys(folder(t, opts.Dir))
	if !slices.Contains(kept, "role-releases.json") {
		t.Errorf("kept %q", kept)
	}
}

func TestDelegationRefusals(t *testing.T) {
	tests := []struct {
		name   string
		make   func(t *testing.T) *repo
		reason string
	}{
		{"another's signature", func(t *testing.T) *repo {
			r := delegated(t, nil)
			r.keys["releases"] = []key{newKey(t, "thief")}
			r.delegate("releases", nil, nil)
			r.publishSnapshot()
			r.publishTimestamp()
			return r
		}, client.ReasonWrongRoot},
		{"not for these paths", func(t *testing.T) *repo {
			return delegated(t, func(d *tuf.Delegations) { d.Roles[0].Paths = []string{"other/*"} })
		}, client.ReasonNotFound},
		{"hidden by a terminating role", func(t *testing.T) *repo {
			return delegated(t, func(d *tuf.Delegations) {
				first := d.Roles[0]
				first.Name, first.Terminating = "first", true
				d.Roles = append([]tuf.DelegatedRole{first}, d.Roles...)
			})
		}, client.ReasonNotFound},
		{"expired", func(t *testing.T) *repo {
			r := delegated(t, nil)
			r.life[tuf.TARGETS] = -day
			r.delegate("releases", nil, nil)
			r.publishSnapshot()
			r.publishTimestamp()
			return r
		}, client.ReasonExpired},
		{"a role that is not there", func(t *testing.T) *repo {
			return delegated(t, func(d *tuf.Delegations) { d.Roles[0].Name = "nowhere" })
		}, client.ReasonMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := test.make(t)
			if _, ok := r.version["first"]; !ok && test.reason == client.ReasonNotFound {
				r.keys["first"] = r.keys["releases"]
				r.delegate("first", nil, nil)
				r.publishSnapshot()
				r.publishTimestamp()
			}
			_, err := refreshed(t, options(t, r, fileURL(r))).Resolve(t.Context(), "stable", "amd64")
			wantReason(t, err, test.reason)
		})
	}
}

// The name of a role becomes the name of a file here and a path on the server.
func TestDelegatedRoleNames(t *testing.T) {
	for _, name := range []string{"../releases", "a/b", "..", "a b", "", ".hidden", "a%2Fb"} {
		r := delegated(t, func(d *tuf.Delegations) { d.Roles[0].Name = name })
		_, err := refreshed(t, options(t, r, fileURL(r))).Resolve(t.Context(), "stable", "amd64")
		wantReason(t, err, client.ReasonMalformed)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("a role with the name %q", name)) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// A delegation that goes round in circles ends.
func TestDelegationCycle(t *testing.T) {
	r := delegated(t, nil)
	r.delegate("releases", nil, r.targets.Signed.Delegations)
	r.publishSnapshot()
	r.publishTimestamp()
	_, err := refreshed(t, options(t, r, fileURL(r))).Resolve(t.Context(), "stable", "amd64")
	wantReason(t, err, client.ReasonNotFound)
}

// Two roles delegate to a third, each to keys of its own. That one role's keys have
// signed it is not enough for what the other one gives it.
func TestTwoDelegators(t *testing.T) {
	for name, both := range map[string]bool{"signed for both": true, "signed for the first": false} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t, "repo")
			d := &tuf.Delegations{Keys: make(map[string]*tuf.Key)}
			var shared []key
			for _, side := range []string{"a", "b"} {
				r.keys[side] = []key{newKey(t, side)}
				d.Roles = append(d.Roles, delegation(t, d, side, "team-"+side+"/*", r.keys[side][0]))
				k := newKey(t, "shared-"+side)
				below := &tuf.Delegations{Keys: make(map[string]*tuf.Key)}
				below.Roles = append(below.Roles, delegation(t, below, "shared", "team-"+side+"/*", k))
				r.delegate(side, nil, below)
				if side == "a" || both {
					shared = append(shared, k)
				}
			}
			r.keys["shared"] = shared
			file := &tuf.TargetFiles{Length: 1, Hashes: tuf.Hashes{"sha256": make([]byte, 32)}}
			r.delegate("shared", map[string]*tuf.TargetFiles{"team-a/file": file, "team-b/file": file}, nil)
			r.targets.Signed.Delegations = d
			r.publish()
			c := refreshed(t, options(t, r, fileURL(r)))
			if _, err := c.Target(t.Context(), "team-a/file"); err != nil {
				t.Fatal(err)
			}
			_, err := c.Target(t.Context(), "team-b/file")
			if both {
				must(t, err)
				return
			}
			wantReason(t, err, client.ReasonBadSignature)
		})
	}
}

// delegation is to a role with one key, which is added to d.
func delegation(t *testing.T, d *tuf.Delegations, role, paths string, k key) tuf.DelegatedRole {
	t.Helper()
	id, err := k.public.ID()
	must(t, err)
	d.Keys[id] = k.public
	return tuf.DelegatedRole{Name: role, KeyIDs: []string{id}, Threshold: 1, Paths: []string{paths}}
}
