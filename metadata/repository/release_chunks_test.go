package repository

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tufboot/metadata"
	"tufboot/metadata/chunks"
)

// randomBytes returns n bytes that are the same for the same seed.
func randomBytes(n int, seed byte) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

// largeRelease is a release whose initramfs is data, large enough for a chunk map,
// and whose kernel is not.
func largeRelease(t *testing.T, keys Signers, version string, data []byte) PublishOptions {
	t.Helper()
	opts := release(t, keys, version, "for all of them")
	writeFile(t, opts.Initramfs, string(data))
	return opts
}

func mustPublish(t *testing.T, r *Repository, opts PublishOptions) *Published {
	t.Helper()
	p, err := r.Publish(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPublishChunkMap(t *testing.T) {
	data := randomBytes(metadata.MinChunked, 1)
	for name, make := range map[string]func() (*Repository, Signers){
		"folder": func() (*Repository, Signers) { r, keys := newRepo(t); return r, keys },
		"bucket": func() (*Repository, Signers) { r, _, keys := memRepo(t); return r, keys }, // reads twice
	} {
		r, keys := make()
		opts := largeRelease(t, keys, "1", data)
		p := mustPublish(t, r, opts)
		if p.Release.KernelChunks != nil || p.Release.InitramfsChunks == nil {
			t.Fatalf("%s: %+v", name, p.Release)
		}
		st, err := load(t.Context(), r.store)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := st.readUpTo(t.Context(), p.Release.InitramfsChunks.Target, metadata.MaxChunkMap(metadata.MinChunked))
		if err != nil {
			t.Fatal(err)
		}
		b := chunks.NewBuilder(chunks.DefaultParams())
		_, _ = b.Write(data)
		m, _ := b.Map()
		if want, _ := m.Encode(); !bytes.Equal(encoded, want) {
			t.Errorf("%s: the map is not that of the file", name)
		}
		if v, err := Verify(t.Context(), r.store, VerifyOptions{Options: at(start)}); err != nil || v.Targets != 5 {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
		manifest, maps, err := Manifest(t.Context(), opts)
		if err != nil || metadata.IdentityOf(manifest) != p.ID {
			t.Errorf("%s: Manifest says something else than was published: %s, %v", name, manifest, err)
		}
		if len(maps) != 1 || !bytes.Equal(maps[metadata.InitramfsFile+metadata.ChunksSuffix], encoded) {
			t.Errorf("%s: %d maps, or others than were published", name, len(maps))
		}
		if list, err := r.List(t.Context()); err != nil || list[0].Size != p.Release.Size() || list[0].Maps != int64(len(encoded)) {
			t.Errorf("%s: listed as %+v, %v", name, list, err)
		}
	}
}

func TestPublishNoChunkMap(t *testing.T) {
	r, keys := newRepo(t)
	small := mustPublish(t, r, largeRelease(t, keys, "1", randomBytes(metadata.MinChunked-1, 1)))
	opts := largeRelease(t, keys, "2", randomBytes(metadata.MinChunked, 1))
	opts.NoDelta = true
	for _, p := range []*Published{small, mustPublish(t, r, opts)} {
		if len(p.Release.Targets()) != 2 || p.Deltas != nil {
			t.Errorf("%+v", p.Release)
		}
	}
}

// Which maps a release has does not make it another one.
func TestPublishAgainWithOtherMaps(t *testing.T) {
	for _, before := range []bool{false, true} {
		r, keys := newRepo(t)
		opts := largeRelease(t, keys, "1", randomBytes(metadata.MinChunked, 1))
		opts.NoDelta = before
		first := mustPublish(t, r, opts)
		opts.NoDelta = !before
		again := mustPublish(t, r, opts)
		if again.Changed || again.ID != first.ID || len(again.Release.Targets()) != len(first.Release.Targets()) {
			t.Errorf("first without maps %t: %+v after %+v", before, again, first)
		}
		opts.Initramfs = largeRelease(t, keys, "1", randomBytes(metadata.MinChunked, 2)).Initramfs
		_, err := r.Publish(t.Context(), opts)
		wantReason(t, err, ReasonVersionExists)
		if !strings.Contains(err.Error(), "another initramfs") {
			t.Error(err)
		}
	}
}

// In bins, a map is in another role's metadata than its file.
func TestChunkMapInBins(t *testing.T) {
	r, keys := newRepo(t)
	fill(t, r, keys, 100)
	publish(t, r, keys, "1")
	if binsOf(t, r) == 0 {
		t.Fatal("no bins")
	}
	p := mustPublish(t, r, largeRelease(t, keys, "2", randomBytes(metadata.MinChunked, 1)))
	newReader(t, r.Place()).sees("2")
	st, err := load(t.Context(), r.store)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range p.Release.Targets() {
		if got, ok, err := st.target(t.Context(), want.Target); err != nil || !ok || got != want {
			t.Errorf("%s: %+v, %v", want.Target, got, err)
		}
	}
}

// Whatever is made of a repository has the maps.
func TestChunkMapsGoAlong(t *testing.T) {
	r, s, keys := memRepo(t)
	for i := range byte(4) {
		mustPublish(t, r, largeRelease(t, keys, fmt.Sprint(i), randomBytes(metadata.MinChunked, i)))
	}
	maps := func(names []string) string {
		var versions []string
		for _, name := range names {
			if strings.HasSuffix(name, metadata.InitramfsFile+metadata.ChunksSuffix) {
				versions = append(versions, strings.Split(name, "/")[2])
			}
		}
		slices.Sort(versions)
		return strings.Join(versions, " ")
	}
	to := newMemStore()
	memMirror(t, s, to, mirrorAt(start))
	if got := maps(to.names("")); got != "0 1 2 3" {
		t.Errorf("mirror: %s", got)
	}
	dir := filepath.Join(t.TempDir(), "bundle")
	if _, err := BundleFolder(t.Context(), s, dir, BundleOptions{Options: at(start), Channel: "stable"}); err != nil {
		t.Fatal(err)
	}
	var bundled []string
	for name := range filesOf(t, dir) {
		bundled = append(bundled, name)
	}
	if got := maps(bundled); got != "3" {
		t.Errorf("bundle: %s", got)
	}
	x, err := ExplainChannel(t.Context(), s, "stable", "amd64", at(start))
	if err != nil || !slices.ContainsFunc(x.Targets, func(t Trace) bool { return strings.HasSuffix(t.Target, "initramfs.chunks") }) {
		t.Errorf("explain: %+v, %v", x, err)
	}
	s.now = s.now.Add(DefaultGrace + time.Hour)
	prune(t, r, PruneOptions{Keep: 1, Grace: DefaultGrace, Keys: keys})
	s.now = s.now.Add(DefaultGrace + time.Hour)
	prune(t, r, PruneOptions{Keep: 1, Grace: DefaultGrace, Keys: keys})
	if got := maps(s.names("")); got != "2 3" {
		t.Errorf("prune leaves %s", got)
	}
	if _, err := Verify(t.Context(), s, VerifyOptions{Options: Options{Now: func() time.Time { return s.now }}}); err != nil {
		t.Error(err)
	}
}

// A manifest that names another map than the signed metadata is found out.
func TestVerifyChunkMap(t *testing.T) {
	r, keys := newRepo(t)
	data := randomBytes(metadata.MinChunked, 1)
	p := mustPublish(t, r, largeRelease(t, keys, "1", data))
	e, err := r.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.AddBytes(t.Context(), p.Release.InitramfsChunks.Target, chunkMap(t, chunks.Params{Min: 1 << 10, Average: 4 << 10, Max: 8 << 10}, data)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Commit(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	_, err = Verify(t.Context(), r.store, VerifyOptions{Options: at(start)})
	if !isInvalid(err) || !strings.Contains(err.Error(), "initramfs.chunks is not what the manifest names") {
		t.Error(err)
	}
}

// A map that is not its file's, but signed, is found out.
func TestVerifyWrongChunkMap(t *testing.T) {
	data := randomBytes(metadata.MinChunked, 1)
	for name, test := range map[string]struct {
		other []byte
		want  string
	}{
		"right":        {data, ""},
		"other bytes":  {randomBytes(metadata.MinChunked, 2), "not what its chunk map says"},
		"one byte":     {append(slices.Clone(data[:len(data)-1]), data[len(data)-1]^1), "not what its chunk map says"},
		"other length": {randomBytes(metadata.MinChunked+1, 1), "initramfs.chunks"},
	} {
		t.Run(name, func(t *testing.T) {
			r, keys := newRepo(t)
			swapMap(t, r, largeRelease(t, keys, "1", data), chunkMap(t, chunks.DefaultParams(), test.other))
			_, err := Verify(t.Context(), r.store, VerifyOptions{Options: at(start)})
			if test.want == "" && err != nil || test.want != "" && (!isInvalid(err) || !strings.Contains(err.Error(), test.want)) {
				t.Error(err)
			}
		})
	}
}

// chunkMap returns the encoded chunk map of data.
func chunkMap(t *testing.T, p chunks.Params, data []byte) []byte {
	t.Helper()
	b := chunks.NewBuilder(p)
	if _, err := b.Write(data); err != nil {
		t.Fatal(err)
	}
	m, err := b.Map()
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// swapMap publishes a release with a chunk map of its initramfs that is given.
func swapMap(t *testing.T, r *Repository, opts PublishOptions, encoded []byte) {
	t.Helper()
	e, err := r.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	release, err := makeRelease(t.Context(), opts, e, true)
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.AddBytes(t.Context(), release.InitramfsChunks.Target, encoded)
	if err != nil {
		t.Fatal(err)
	}
	release.InitramfsChunks = &a
	manifest, err := release.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.AddBytes(t.Context(), metadata.ReleaseTarget(opts.Version, opts.Arch, metadata.ManifestFile), manifest); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Commit(t.Context(), opts.Keys); err != nil {
		t.Fatal(err)
	}
}

// A file that has not changed costs its map.
func TestDeltasOfUnchanged(t *testing.T) {
	r, keys := newRepo(t)
	data := randomBytes(2*metadata.MinChunked, 1)
	mustPublish(t, r, largeRelease(t, keys, "1", data))
	p := mustPublish(t, r, largeRelease(t, keys, "2", data))
	if len(p.Deltas) != 1 || p.Deltas[0].Initramfs != p.Release.InitramfsChunks.Length || p.Deltas[0].Requests != 1 {
		t.Errorf("%+v, with a map of %d bytes", p.Deltas, p.Release.InitramfsChunks.Length)
	}
}

func TestDeltas(t *testing.T) {
	r, keys := newRepo(t)
	data := randomBytes(4<<20, 1)
	for i := range 5 {
		data = slices.Concat(data[:2<<20], []byte("changed"), data[2<<20:])
		opts := largeRelease(t, keys, fmt.Sprint(i), data)
		opts.NoDelta = i == 1
		p := mustPublish(t, r, opts)
		var versions []string
		for _, d := range p.Deltas {
			versions = append(versions, d.Version)
			least, most := int64(1), int64(100<<10)
			if d.Version == "1" {
				least, most = p.Release.Initramfs.Length, p.Release.Initramfs.Length
			}
			// The kernel is too short for a map: all of it is fetched, changed or not.
			if d.Initramfs < least || d.Initramfs > most || d.Bytes != d.Initramfs+p.Release.Kernel.Length || d.Requests != 2 || d.Of != p.Release.Size() {
				t.Errorf("%d: %+v", i, d)
			}
		}
		want := []string{"", "", "1 0", "2 1 0", "3 2 1"}[i]
		if got := strings.Join(versions, " "); got != want {
			t.Errorf("%d: for nodes on %q, want %q", i, got, want)
		}
	}
}

// Nobody is told about nodes on what was taken back, or on the release itself.
func TestDeltasLeaveOut(t *testing.T) {
	r, keys := newRepo(t)
	var all []PublishOptions
	for i := range byte(4) {
		all = append(all, largeRelease(t, keys, fmt.Sprint(i), randomBytes(metadata.MinChunked, i)))
	}
	mustPublish(t, r, all[0])
	mustPublish(t, r, all[1])
	mustPublish(t, r, all[2])
	if _, err := r.Withdraw(t.Context(), WithdrawOptions{Version: "2", Channel: "stable", Keys: keys}); err != nil {
		t.Fatal(err)
	}
	if d := mustPublish(t, r, all[3]).Deltas; len(d) != 2 || d[0].Version != "1" || d[1].Version != "0" {
		t.Errorf("after a withdrawal: %+v", d)
	}
	all[0].Back = true
	if d := mustPublish(t, r, all[0]).Deltas; len(d) != 2 || d[0].Version != "3" || d[1].Version != "1" {
		t.Errorf("back to what was before: %+v", d)
	}
}

// The map is of what was read, whatever the sizes of the reads; what is read in part
// leaves none.
func TestSource(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	data := randomBytes(3_000_000, 1)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var done int64
	s := &source{path: path, mapped: true, progress: func(n int64) { done = n }}
	f, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1_234_567))
	if err != nil || f.Close() != nil || done != 3_000_000 || s.made.Length() != done {
		t.Errorf("%v, %d of %d", err, done, s.made.Length())
	}
	part := &source{path: path, mapped: true}
	f, err = part.open()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.CopyN(io.Discard, f, 1000)
	f.Close()
	if _, err := addMap(t.Context(), hasher{}, metadata.Artifact{Target: "x", Length: 3_000_000}, part.made); err == nil {
		t.Error("a map of a part is taken")
	}
}
