package update_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tufboot/grub"
	"tufboot/image"
	"tufboot/metadata"
	"tufboot/metadata/chunks"
)

// publishData publishes a release of these artifacts.
func (r *rig) publishData(version string, kernel, initramfs []byte) {
	r.t.Helper()
	var paths []string
	for name, data := range map[string][]byte{metadata.KernelFile: kernel, metadata.InitramfsFile: initramfs} {
		path := filepath.Join(r.dir, version+"."+name)
		must(r.t, os.WriteFile(path, data, 0o644))
		paths = append(paths, path)
	}
	slices.SortFunc(paths, func(a, b string) int { return strings.Compare(b, a) }) // vmlinuz first
	r.publishFiles(version, paths[0], paths[1])
}

// changed returns release version 1's initramfs with about 5 percent of it
// changed in three places, and something inserted.
func changed(salt string) []byte {
	data := payload("1", metadata.InitramfsFile, initramfsSize)
	for i := range 3 {
		copy(data[(i+1)*len(data)/4:], payload(salt, fmt.Sprint(i), len(data)/60))
	}
	return slices.Concat(data[:1000], []byte("inserted"), data[1000:])
}

// wantFile fails unless the slot holds a file with this content, and nothing but
// a release.
func (r *rig) wantFile(slot grub.Slot, name string, data []byte) {
	r.t.Helper()
	disk, err := image.Find(image.FindOptions{Disk: r.loop, Labels: image.DefaultLabels()})
	must(r.t, err)
	got, err := image.ReadSlotFile(disk.Slot(slot), name, 64<<20)
	must(r.t, err)
	if !bytes.Equal(got, data) {
		r.t.Errorf("slot %s: %s is not what was published", slot, name)
	}
	if got := r.files(slot); got != files && got != filesWithMap {
		r.t.Errorf("slot %s has %s", slot, got)
	}
}

// What a slot has of a release, with and without a chunk map of the initramfs. The
// kernel is too small for one.
const (
	files        = "SHA256SUMS cmdline.cfg initramfs lost+found release.json vmlinuz"
	filesWithMap = "SHA256SUMS cmdline.cfg initramfs initramfs.chunks lost+found release.json vmlinuz"
)

// files lists a slot.
func (r *rig) files(slot grub.Slot) string {
	r.t.Helper()
	dir := r.t.TempDir()
	r.run("mount", "-o", "ro,noload", fmt.Sprintf("%sp%d", r.loop, partition(slot)), dir)
	defer r.run("umount", dir)
	entries, err := os.ReadDir(dir)
	must(r.t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// changedBytes is what changed costs at most: the changes with the chunks that
// they reach into, and the map.
const changedBytes = initramfsSize/20 + 4*64<<10 + 16<<10

// TestDelta updates to a release with 5 percent changed: about that is fetched.
func TestDelta(t *testing.T) {
	r := newRig(t)
	kernel := payload("1", metadata.KernelFile, kernelSize)
	r.publishData("2", kernel, changed("2"))
	booted := r.slotHash(grub.SlotA)
	r.seen()
	p := r.update()
	r.wantFile(grub.SlotB, metadata.InitramfsFile, changed("2"))
	r.wantFile(grub.SlotB, metadata.KernelFile, kernel)
	if r.slotHash(grub.SlotA) != booted {
		t.Error("the booted slot was written")
	}
	if u := p.Transfer; u.Fetched > changedBytes+kernelSize || u.Fetched+u.Reused < initramfsSize || u.Requests > 8 {
		t.Errorf("transfer %+v, want at most %d bytes", u, changedBytes+kernelSize)
	}
	if n := requestsFor(r.seen(), ".initramfs"); n == 0 || n > 5 {
		t.Errorf("%d requests for the initramfs", n)
	}
	// The next release is made of what both slots have.
	if slot := r.reboot(); slot != grub.SlotB {
		t.Fatalf("trial booted slot %s", slot)
	}
	if _, err := r.gate(true); err != nil {
		t.Fatal(err)
	}
	old, now := payload("1", metadata.InitramfsFile, initramfsSize), changed("2")
	mixed := slices.Concat(now[:2<<20], old[:1<<20], now[2<<20:])
	r.publishData("3", kernel, mixed)
	p = r.update()
	r.wantFile(grub.SlotA, metadata.InitramfsFile, mixed)
	if u := p.Transfer; u.Fetched > 4*64<<10+kernelSize+16<<10 {
		t.Errorf("transfer %+v", u)
	}
}

// requestsFor counts the requests for files with such a name.
func requestsFor(seen []string, suffix string) int {
	n := 0
	for _, s := range seen {
		path, _, _ := strings.Cut(s, " ")
		if strings.HasSuffix(path, suffix) {
			n++
		}
	}
	return n
}

// TestDeltaOff fetches all of it where that is wanted, and asks for no map.
func TestDeltaOff(t *testing.T) {
	r := newRig(t)
	r.publishData("2", payload("2", metadata.KernelFile, kernelSize), changed("2"))
	r.seen()
	n := r.node()
	n.NoDelta = true
	p, err := n.Update(t.Context(), "")
	must(t, err)
	r.wantFile(grub.SlotB, metadata.InitramfsFile, changed("2"))
	if u := p.Transfer; u.Reused > 0 || u.Requests != 4 { // two to see that they are there
		t.Errorf("transfer %+v", u)
	}
	if requestsFor(r.seen(), ".chunks") > 0 {
		t.Error("a map was asked for")
	}
}

// TestDeltaFaults shows that whatever goes wrong with map, seeds or parts costs
// traffic and nothing else: never more than all of it and the map.
func TestDeltaFaults(t *testing.T) {
	const all = initramfsSize + 8 + kernelSize
	const slack = 64 << 10 // a wrong answer is noticed within a chunk
	answer := func(suffix string, ranged bool, h http.HandlerFunc) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, req *http.Request, files http.Handler) {
			if strings.HasSuffix(req.URL.Path, suffix) && (!ranged || strings.HasPrefix(req.Header.Get("Range"), "bytes=") && !strings.HasSuffix(req.Header.Get("Range"), "-")) {
				h(w, req)
				return
			}
			files.ServeHTTP(w, req)
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	garbage := func(w http.ResponseWriter, req *http.Request) {
		var start, end int
		_, _ = fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-%d", &start, &end)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end, initramfsSize+8))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(make([]byte, end-start+1))
	}
	for name, test := range map[string]struct {
		serve func(http.ResponseWriter, *http.Request, http.Handler)
		do    func(*rig)
		most  int64
	}{
		"no map there":    {serve: answer(".chunks", false, status(404)), most: all},
		"another map":     {serve: answer(".chunks", false, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 8000)) }), most: all + 8000},
		"parts forbidden": {serve: answer(".initramfs", true, status(403)), most: all},
		"no parts": {serve: func(w http.ResponseWriter, req *http.Request, files http.Handler) {
			req.Header.Del("Range")
			files.ServeHTTP(w, req)
		}, most: all},
		"garbage in parts":      {serve: answer(".initramfs", true, garbage), most: all + slack},
		"corrupt booted slot":   {do: func(r *rig) { r.corrupt(grub.SlotA, "1") }, most: changedBytes + kernelSize},
		"corrupt inactive slot": {do: func(r *rig) { r.corrupt(grub.SlotB, "1") }, most: changedBytes + kernelSize},
		"corrupt slots": {do: func(r *rig) {
			r.corrupt(grub.SlotA, "1")
			r.corrupt(grub.SlotB, "1")
		}, most: changedBytes + kernelSize + 64<<10},
		"booted slot is mounted": {do: func(r *rig) {
			point := r.t.TempDir()
			r.run("mount", r.loop+"p2", point)
			r.t.Cleanup(func() { r.run("umount", point) })
		}, most: changedBytes + kernelSize},
		"booted slot is empty":   {do: func(r *rig) { r.run("mke2fs", "-q", "-F", "-t", "ext4", "-L", "SYSTEM-A", r.loop+"p2") }, most: changedBytes + kernelSize},
		"booted slot is no ext4": {do: func(r *rig) { r.run("dd", "if=/dev/zero", "of="+r.loop+"p2", "bs=1M", "count=1", "status=none") }, most: changedBytes + kernelSize},
		"inactive slot is empty": {do: func(r *rig) { r.run("mke2fs", "-q", "-F", "-t", "ext4", "-L", "SYSTEM-B", r.loop+"p3") }, most: changedBytes + kernelSize},
		"neither slot has content": {do: func(r *rig) {
			r.run("mke2fs", "-q", "-F", "-t", "ext4", "-L", "SYSTEM-A", r.loop+"p2")
			r.run("mke2fs", "-q", "-F", "-t", "ext4", "-L", "SYSTEM-B", r.loop+"p3")
		}, most: all},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.publishData("2", payload("2", metadata.KernelFile, kernelSize), changed("2"))
			if test.do != nil {
				test.do(r)
			}
			r.serve = test.serve
			p := r.update()
			r.wantFile(grub.SlotB, metadata.InitramfsFile, changed("2"))
			if u := p.Transfer; u.Fetched > test.most+16<<10 { // the map
				t.Errorf("transfer %+v, want at most %d bytes", u, test.most)
			}
		})
	}
}

// TestDeltaKilled ends the run in the middle of the initramfs. The slot cannot be
// booted, and the next run goes on with what is there: both together fetch what
// one would have.
func TestDeltaKilled(t *testing.T) {
	type killed struct{}
	for _, part := range []int64{1, 3} { // quarters
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			r := newRig(t)
			r.publishData("2", payload("2", metadata.KernelFile, kernelSize), changed("2"))
			n := r.node()
			n.Progress = func(file string, done, total int64) {
				if file == metadata.InitramfsFile && done >= total*part/4 {
					panic(killed{})
				}
			}
			func() {
				defer func() {
					if p := recover(); p != (killed{}) {
						t.Fatalf("the run was not killed: %v", p)
					}
				}()
				_, _ = n.Update(t.Context(), "")
			}()
			if got := r.block(); got.Trial() || got.OK(grub.SlotB) {
				t.Fatalf("a half-written slot in block %+v", got)
			}
			if slot := r.reboot(); slot != grub.SlotA {
				t.Fatalf("booted slot %s", slot)
			}
			r.seen()
			p := r.update()
			r.wantFile(grub.SlotB, metadata.InitramfsFile, changed("2"))
			if u := p.Transfer; u.Fetched > changedBytes || u.Reused > (initramfsSize+8)*(5-part)/4 {
				t.Errorf("transfer %+v", u)
			}
			if requestsFor(r.seen(), ".vmlinuz") > 0 {
				t.Error("the kernel was fetched again")
			}
		})
	}
}

// TestDeltaWrongPartial lets the device lose a bit of what an earlier run had
// written. What is right of it is still used.
func TestDeltaWrongPartial(t *testing.T) {
	r := newRig(t)
	r.publishData("2", payload("2", metadata.KernelFile, kernelSize), changed("2"))
	ctx, cancel := context.WithCancel(t.Context())
	n := r.node()
	n.Progress = func(file string, done, total int64) {
		if file == metadata.InitramfsFile && done >= total*2/3 {
			cancel()
		}
	}
	if _, err := n.Update(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Fatalf("the update that was cut off: %v", err)
	}
	r.corruptBytes(grub.SlotB, payload("2", "0", initramfsSize/60)[8192:8192+4096]) // only the new one has it
	p := r.update()
	r.wantFile(grub.SlotB, metadata.InitramfsFile, changed("2"))
	if u := p.Transfer; u.Fetched > changedBytes/3 { // one of three changes, and a chunk
		t.Errorf("transfer %+v", u)
	}
}

// TestDeltaWrongMap has a publisher sign the map of another file, one that the
// node has. All of the release is fetched then.
func TestDeltaWrongMap(t *testing.T) {
	r := newRig(t)
	other := chunks.NewBuilder(chunks.DefaultParams())
	_, err := other.Write(append(payload("1", metadata.InitramfsFile, initramfsSize), "inserted"...))
	must(t, err)
	m, err := other.Map()
	must(t, err)
	encoded, err := m.Encode()
	must(t, err)
	e, err := r.repo.Edit(t.Context())
	must(t, err)
	defer e.Close()
	name := func(file string) string { return metadata.ReleaseTarget("2", arch, file) }
	must(t, e.UnlockFor(t.Context(), r.keys, name(metadata.KernelFile)))
	add := func(file string, data []byte) metadata.Artifact {
		a, err := e.AddBytes(t.Context(), name(file), data)
		must(t, err)
		return a
	}
	wrong := add(metadata.InitramfsFile+metadata.ChunksSuffix, encoded)
	manifest, err := (&metadata.Release{
		Schema: metadata.Schema, Version: "2", Arch: arch,
		Kernel:          add(metadata.KernelFile, payload("2", metadata.KernelFile, kernelSize)),
		Initramfs:       add(metadata.InitramfsFile, changed("2")),
		InitramfsChunks: &wrong,
	}).Encode()
	must(t, err)
	add(metadata.ManifestFile, manifest)
	_, err = e.Commit(t.Context(), r.keys)
	must(t, err)
	p, err := r.node().Update(t.Context(), "2")
	must(t, err)
	r.wantFile(grub.SlotB, metadata.InitramfsFile, changed("2"))
	if u := p.Transfer; u.Fetched < initramfsSize || u.Fetched > 2*initramfsSize+kernelSize {
		t.Errorf("transfer %+v", u)
	}
}

// TestDeltaWithoutRoom has no room for old and new files in the slot. The other
// slot serves.
func TestDeltaWithoutRoom(t *testing.T) {
	r := newRig(t)
	old := payload("1", metadata.InitramfsFile, initramfsSize)
	kernel := payload("1", metadata.KernelFile, kernelSize)
	large := slices.Concat(old, payload("2", "more", 6<<20))
	r.publishData("2", kernel, large)
	p := r.update()
	r.wantFile(grub.SlotB, metadata.InitramfsFile, large)
	if u := p.Transfer; u.Reused < initramfsSize-64<<10 {
		t.Errorf("transfer %+v", u)
	}
}

// TestDeltaNextReleaseMeanwhile has the channel move on after a run that was cut
// off: what that one has left serves for the next release.
func TestDeltaNextReleaseMeanwhile(t *testing.T) {
	r := newRig(t)
	first := payload("2", metadata.InitramfsFile, initramfsSize) // nothing in common with 1
	r.publishData("2", payload("2", metadata.KernelFile, kernelSize), first)
	ctx, cancel := context.WithCancel(t.Context())
	n := r.node()
	n.Progress = func(file string, done, total int64) {
		if file == metadata.InitramfsFile && done >= total/2 {
			cancel()
		}
	}
	if _, err := n.Update(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Fatalf("the update that was cut off: %v", err)
	}
	second := slices.Concat([]byte("inserted"), first)
	r.publishData("3", payload("3", metadata.KernelFile, kernelSize), second)
	p := r.update()
	r.wantFile(grub.SlotB, metadata.InitramfsFile, second)
	if u := p.Transfer; u.Reused < initramfsSize/2-256<<10 {
		t.Errorf("transfer %+v", u)
	}
}

// TestDeltaPlanIsBare shows that a plan that installs nothing says nothing of
// traffic.
func TestDeltaPlanIsBare(t *testing.T) {
	r := newRig(t)
	if p := r.update(); p.Install || p.Transfer != nil {
		t.Errorf("plan %+v", p)
	}
}
