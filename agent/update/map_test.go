package update_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/agent/update"
	"tufboot/grub"
	"tufboot/image"
	"tufboot/metadata"
	"tufboot/metadata/chunks"
)

const mapFile = metadata.InitramfsFile + metadata.ChunksSuffix

// mapOf returns the chunk map of a file, as it is published.
func mapOf(t *testing.T, data []byte) []byte {
	t.Helper()
	b := chunks.NewBuilder(chunks.DefaultParams())
	_, err := b.Write(data)
	must(t, err)
	m, err := b.Map()
	must(t, err)
	encoded, err := m.Encode()
	must(t, err)
	return encoded
}

// edit changes the files of a slot.
func (r *rig) edit(slot grub.Slot, change func(dir string)) {
	r.t.Helper()
	dir := r.t.TempDir()
	r.run("mount", fmt.Sprintf("%sp%d", r.loop, partition(slot)), dir)
	defer r.run("umount", dir)
	change(dir)
}

func partition(slot grub.Slot) int { return map[grub.Slot]int{grub.SlotA: 2, grub.SlotB: 3}[slot] }

// storeMaps gives both slots the map of what they hold, as an image's builder does.
func (r *rig) storeMaps() {
	r.t.Helper()
	m := mapOf(r.t, payload("1", metadata.InitramfsFile, initramfsSize))
	for _, slot := range []grub.Slot{grub.SlotA, grub.SlotB} {
		r.edit(slot, func(dir string) { must(r.t, os.WriteFile(filepath.Join(dir, mapFile), m, 0o644)) })
	}
}

// read returns how many bytes were read of a slot's device so far.
func (r *rig) read(slot grub.Slot) int64 {
	r.t.Helper()
	name := filepath.Base(r.loop)
	data, err := os.ReadFile(fmt.Sprintf("/sys/block/%s/%sp%d/stat", name, name, partition(slot)))
	must(r.t, err)
	var requests, merged, sectors int64 // Documentation/block/stat.rst
	_, err = fmt.Sscan(string(data), &requests, &merged, &sectors)
	must(r.t, err)
	return sectors * 512
}

// wantMap fails unless the slot has the map of this initramfs.
func (r *rig) wantMap(slot grub.Slot, data []byte) {
	r.t.Helper()
	disk, err := image.Find(image.FindOptions{Disk: r.loop, Labels: image.DefaultLabels()})
	must(r.t, err)
	got, err := image.ReadSlotFile(disk.Slot(slot), mapFile, 1<<20)
	must(r.t, err)
	if !bytes.Equal(got, mapOf(r.t, data)) {
		r.t.Errorf("slot %s has another map", slot)
	}
}

// TestMapsSpareTheSearch counts what is read: of the booted slot what is copied, and
// of the slot that is written nothing but what was written, since its old file has no
// more than the booted slot's.
func TestMapsSpareTheSearch(t *testing.T) {
	const other = 512 << 10 // the file system's own, and what is looked at of a file
	for _, mapped := range []bool{true, false} {
		r := newRig(t)
		if mapped {
			r.storeMaps()
		}
		r.publishData("2", payload("2", metadata.KernelFile, kernelSize), changed("2"))
		a, b := r.read(grub.SlotA), r.read(grub.SlotB)
		p := r.update()
		a, b = r.read(grub.SlotA)-a, r.read(grub.SlotB)-b
		r.wantFile(grub.SlotB, metadata.InitramfsFile, changed("2"))
		r.wantMap(grub.SlotB, changed("2"))
		if u := p.Transfer; u.Fetched > changedBytes+kernelSize {
			t.Errorf("transfer %+v", u)
		}
		// Without maps, both old files are searched.
		if spared := a < initramfsSize+other && b < initramfsSize+kernelSize+other; spared != mapped {
			t.Errorf("maps %t: %d bytes of slot A and %d of slot B were read", mapped, a, b)
		}
	}
}

// TestStoredMapFaults has slots whose maps are not what they should be. The result is
// right, and what it costs is bounded: where the map can be told to be wrong, nothing
// but a search.
func TestStoredMapFaults(t *testing.T) {
	old := payload("1", metadata.InitramfsFile, initramfsSize)
	m := mapOf(t, old)
	const header, record = 28, 18
	altered := func(change func(m []byte)) []byte {
		m := bytes.Clone(m)
		change(m)
		return m
	}
	const searched, all = changedBytes + kernelSize, initramfsSize + 8 + kernelSize + 16<<10
	for name, test := range map[string]struct {
		stored []byte // nil: none
		file   []byte // nil: release 1's
		most   int64
	}{
		"truncated":       {m[:len(m)-record], nil, searched},
		"too long":        {append(bytes.Clone(m), m[header:header+record]...), nil, searched},
		"much too long":   {append(bytes.Clone(m), make([]byte, 1<<20)...), nil, searched},
		"another length":  {altered(func(m []byte) { m[header+1] ^= 1 }), nil, searched},
		"all IDs corrupt": {altered(func(m []byte) { clearIDs(m[header:], record, 1) }), nil, searched},
		"every 2nd ID":    {altered(func(m []byte) { clearIDs(m[header:], record, 2) }), nil, all},
		"chunks exchanged": {altered(func(m []byte) {
			for i := header + record; i+2*record <= len(m); i += 2 * record {
				one, two := m[i:][:record], m[i+record:][:record]
				first := bytes.Clone(one)
				copy(one, two)
				copy(two, first)
			}
		}), nil, all},
		"of another file":     {mapOf(t, payload("other", "", initramfsSize)), nil, searched},
		"of the next release": {mapOf(t, changed("2")), nil, searched},
		"a changed file":      {m, append(bytes.Clone(old[1000:]), old[:1000]...), searched + 64<<10},
		"a part changed":      {m, inverted(old, 1<<20, 256<<10), searched + 600<<10},
		"a shorter file":      {m, old[:initramfsSize/2], all},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			for _, slot := range []grub.Slot{grub.SlotA, grub.SlotB} {
				r.edit(slot, func(dir string) {
					if test.stored != nil {
						must(t, os.WriteFile(filepath.Join(dir, mapFile), test.stored, 0o644))
					}
					if test.file != nil {
						must(t, os.WriteFile(filepath.Join(dir, metadata.InitramfsFile), test.file, 0o644))
					}
				})
			}
			r.publishData("2", payload("2", metadata.KernelFile, kernelSize), changed("2"))
			p := r.update()
			r.wantFile(grub.SlotB, metadata.InitramfsFile, changed("2"))
			r.wantMap(grub.SlotB, changed("2"))
			if u := p.Transfer; u.Fetched > test.most || u.Requests > 100 {
				t.Errorf("transfer %+v, want at most %d bytes", u, test.most)
			}
		})
	}
}

// clearIDs empties each so many IDs of a map's records.
func clearIDs(records []byte, size, every int) {
	for i := 0; i < len(records); i += size * every {
		clear(records[i+2:][:size-2])
	}
}

// inverted returns data with n bytes inverted.
func inverted(data []byte, at, n int) []byte {
	data = bytes.Clone(data)
	for i := range data[at:][:n] {
		data[at+i] ^= 0xff
	}
	return data
}

// TestMapIsNoFile has a folder and a link where the map would be.
func TestMapIsNoFile(t *testing.T) {
	r := newRig(t)
	r.edit(grub.SlotA, func(dir string) { must(t, os.Mkdir(filepath.Join(dir, mapFile), 0o755)) })
	r.edit(grub.SlotB, func(dir string) { must(t, os.Symlink("initramfs", filepath.Join(dir, mapFile))) })
	r.publishData("2", payload("2", metadata.KernelFile, kernelSize), changed("2"))
	p := r.update()
	r.wantFile(grub.SlotB, metadata.InitramfsFile, changed("2"))
	if u := p.Transfer; u.Fetched > changedBytes+kernelSize {
		t.Errorf("transfer %+v", u)
	}
}

// TestMapIsStored shows when a slot gets the map: also when all of the release was
// fetched, but not when no delta is wanted, and not at the price of the update.
func TestMapIsStored(t *testing.T) {
	other := payload("2", metadata.InitramfsFile, initramfsSize) // nothing to copy
	t.Run("after a full download", func(t *testing.T) {
		r := newRig(t)
		r.edit(grub.SlotA, func(dir string) { must(t, os.Remove(filepath.Join(dir, metadata.InitramfsFile))) })
		r.edit(grub.SlotB, func(dir string) { must(t, os.Remove(filepath.Join(dir, metadata.InitramfsFile))) })
		r.publishData("2", payload("2", metadata.KernelFile, kernelSize), other)
		r.seen()
		r.update()
		r.wantMap(grub.SlotB, other)
		if n := requestsFor(r.seen(), ".chunks"); n != 1 {
			t.Errorf("%d requests for the map", n)
		}
	})
	t.Run("not with delta off", func(t *testing.T) {
		r := newRig(t)
		r.storeMaps()
		r.publishData("2", payload("2", metadata.KernelFile, kernelSize), other)
		n := r.node()
		n.NoDelta = true
		_, err := n.Update(t.Context(), "")
		must(t, err)
		if got := r.files(grub.SlotB); got != files {
			t.Errorf("slot B has %s", got)
		}
	})
	t.Run("not without room", func(t *testing.T) {
		r := newRig(t)
		disk, err := image.Find(image.FindOptions{Disk: r.loop, Labels: image.DefaultLabels()})
		must(t, err)
		var free int64
		must(t, image.WriteSlot(disk.Slot(grub.SlotB), func(w *image.Writer) error {
			must(t, w.Keep())
			free, err = w.Free()
			return err
		}))
		large := payload("2", "large", int(free-kernelSize-1<<20-16<<10))
		r.publishData("2", payload("2", metadata.KernelFile, kernelSize), large)
		r.update()
		if got := r.files(grub.SlotB); got != files {
			t.Errorf("slot B has %s", got)
		}
	})
	t.Run("not where it cannot be had", func(t *testing.T) {
		r := newRig(t)
		r.publishData("2", payload("2", metadata.KernelFile, kernelSize), other)
		r.serve = func(w http.ResponseWriter, req *http.Request, files http.Handler) {
			if strings.HasSuffix(req.URL.Path, ".chunks") {
				http.NotFound(w, req)
				return
			}
			files.ServeHTTP(w, req)
		}
		r.update()
		if got := r.files(grub.SlotB); got != files {
			t.Errorf("slot B has %s", got)
		}
	})
}

// TestMapAndResume ends runs while the initramfs is copied, and at its end. The seeds
// keep their maps, and a map that is in the slot is not fetched again; one that a power
// cut left torn is.
func TestMapAndResume(t *testing.T) {
	type killed struct{}
	right := mapOf(t, changed("2"))
	for name, test := range map[string]struct {
		part   float64 // of the initramfs
		stored []byte  // what is there of its map then
		maps   int     // requests
	}{
		"in the middle":           {0.5, nil, 1},
		"at the end":              {1, nil, 1},
		"at the end, map stored":  {1, right, 0},
		"at the end, map torn":    {1, right[:4096], 1},
		"in the middle, map torn": {0.5, make([]byte, len(right)), 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.storeMaps()
			r.publishData("2", payload("1", metadata.KernelFile, kernelSize), changed("2"))
			n := r.node()
			n.Progress = func(file string, done, total int64) {
				if file == metadata.InitramfsFile && float64(done) >= test.part*float64(total) {
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
			if test.stored != nil {
				r.edit(grub.SlotB, func(dir string) { must(t, os.WriteFile(filepath.Join(dir, mapFile), test.stored, 0o644)) })
			}
			r.seen()
			a := r.read(grub.SlotA)
			p := r.update()
			r.wantFile(grub.SlotB, metadata.InitramfsFile, changed("2"))
			r.wantMap(grub.SlotB, changed("2"))
			if maps := requestsFor(r.seen(), ".chunks"); maps != test.maps {
				t.Errorf("%d requests for the map", maps)
			}
			left := int64((1 - test.part) * initramfsSize)
			if read := r.read(grub.SlotA) - a; read > left+1<<20 {
				t.Errorf("%d bytes of slot A were read for %d that were missing", read, left)
			}
			if u := p.Transfer; u.Fetched > changedBytes {
				t.Errorf("transfer %+v", u)
			}
		})
	}
}

// TestMapIsReadBack has a device that stores another map than it is given.
func TestMapIsReadBack(t *testing.T) {
	r := newFaultyRig(t)
	r.publishData("2", payload("1", metadata.KernelFile, kernelSize), changed("2"))
	m := mapOf(t, changed("2"))
	r.fault.OnWrite(func(_ int64, b []byte) error {
		if i := bytes.Index(b, m[:64]); i >= 0 {
			b[i+100] ^= 1
		}
		return nil
	})
	_, err := r.node().Update(t.Context(), "")
	r.wantUnverified(err)
	var wrong *update.SlotError
	if errors.As(err, &wrong) && wrong.File != mapFile {
		t.Errorf("%s is to blame", wrong.File)
	}
}
