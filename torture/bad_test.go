package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tufboot/grub"
	"tufboot/image/build"
)

// arena is a disk with v1 in slot A and v2 in slot B, and a judge for it.
type arena struct {
	*judge
	disk   *disk
	layout *build.Result
}

// newArena makes a small but real disk: grub.cfg and file systems are what
// repo-tool builds, and only the kernels are none.
func newArena(t *testing.T) *arena {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: it serves a disk by FUSE")
	}
	a := &arena{judge: &judge{releases: map[string]digests{}}}
	files, err := grub.CmdlineConfig("quiet")
	if err != nil {
		t.Fatal(err)
	}
	images := map[string][]byte{}
	for _, version := range []string{"v1", "v2"} {
		dir := t.TempDir()
		content := map[string][]byte{
			"release.json": []byte("release " + version), grub.CmdlineFile: files,
			grub.KernelFile: bytes.Repeat([]byte("kernel "+version), 9000), grub.InitramfsFile: bytes.Repeat([]byte("initramfs "+version), 5000),
		}
		a.releases[version] = digests{}
		for name, b := range content {
			sum := sha256.Sum256(b)
			a.releases[version][name] = hex.EncodeToString(sum[:])
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, "disk.img")
		a.layout, err = build.Build(t.Context(), build.Options{
			Output: path, Kernel: filepath.Join(dir, grub.KernelFile), Initramfs: filepath.Join(dir, grub.InitramfsFile),
			Manifest: content["release.json"], Cmdline: "quiet", Seed: "torture", EFISize: build.MinEFISize,
			SlotSize: 16 << 20, DataSize: 16 << 20, Grub: grub.ConfigOptions{Timeout: -1, RebootAfter: -1},
		})
		if err != nil {
			t.Fatal(err)
		}
		if images[version], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	b := a.layout.Partitions[2]
	copy(images["v1"][b.Start:b.Start+b.Size], images["v2"][b.Start:b.Start+b.Size])
	path := filepath.Join(t.TempDir(), "both.img")
	if err := os.WriteFile(path, images["v1"], 0o600); err != nil {
		t.Fatal(err)
	}
	a.envAt = int64(bytes.Index(images["v1"], grub.InitialBlock(grub.SlotA)))
	if a.disk, err = newDisk(t.TempDir(), path, maphash.MakeSeed()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.disk.close(); err != nil {
			t.Error(err)
		}
	})
	if a.emulator, err = newEmulator(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	return a
}

// set writes a boot state onto the disk.
func (a *arena) set(t *testing.T, s grub.State) {
	t.Helper()
	b := grub.NewBlock()
	if err := grub.Encode(b, s); err != nil {
		t.Fatal(err)
	}
	if err := a.disk.write(a.envAt, b.Bytes()); err != nil {
		t.Fatal(err)
	}
}

// spoil overwrites the first bytes of what is found in a partition: a write that
// did not reach the disk.
func (a *arena) spoil(t *testing.T, slot grub.Slot, what string) {
	t.Helper()
	p := a.layout.Partitions[map[grub.Slot]int{grub.SlotA: 1, grub.SlotB: 2}[slot]]
	b, err := a.disk.read(p.Start, p.Size)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte(what))
	if at < 0 {
		t.Fatalf("slot %s has no %q", slot, what)
	}
	if err := a.disk.write(p.Start+int64(at), make([]byte, sectorSize)); err != nil {
		t.Fatal(err)
	}
}

// TestJudgeFindsBadDisks proves that the judge is no yes-man: each of these disks
// would be what a missing protection leaves.
func TestJudgeFindsBadDisks(t *testing.T) {
	a := newArena(t)
	const id = "0123456789abcdef"
	committed := grub.State{Active: grub.SlotA, Success: true, AOK: true}
	armed := grub.State{Active: grub.SlotB, Counter: 3, AOK: true, BOK: true, BootID: id}
	proven := grub.State{Active: grub.SlotB, Success: true, AOK: true, BOK: true}
	before := history{none, none, none, none}
	good := history{armed: 10, committed: 20, durable: 21, gaveUp: none}
	for name, c := range map[string]struct {
		state   grub.State
		history history
		spoil   func(t *testing.T)
		want    []string // invariants that are violated
	}{
		"committed, the other being written": {state: committed, history: before, spoil: func(t *testing.T) { a.spoil(t, grub.SlotB, "kernel v2") }},
		"armed":                              {state: armed, history: before},
		"marked good":                        {state: proven, history: good},
		"half-written slot that may be booted": {
			state: grub.State{Active: grub.SlotA, Success: true, AOK: true, BOK: true}, history: before,
			spoil: func(t *testing.T) { a.spoil(t, grub.SlotB, "initramfs v2") }, want: []string{neverHalf},
		},
		"half-written slot on trial": {
			state: armed, history: before,
			spoil: func(t *testing.T) { a.spoil(t, grub.SlotB, "kernel v2") }, want: []string{neverHalf},
		},
		"manifest of no release": {
			state: armed, history: before,
			spoil: func(t *testing.T) { a.spoil(t, grub.SlotB, "release v2") }, want: []string{neverHalf},
		},
		"unproven and uncounted": {state: proven, history: before, want: []string{neverLost, neverUncounted}},
		"a trial without a name": {
			state: grub.State{Active: grub.SlotB, Counter: 3, AOK: true, BOK: true}, history: before, want: []string{neverUncounted},
		},
		"a trial without a way back": {
			state: grub.State{Active: grub.SlotB, Counter: 3, BOK: true, BootID: id}, history: before, want: []string{neverLost},
		},
		"the committed release is overwritten": {
			state: committed, history: before,
			spoil: func(t *testing.T) { a.spoil(t, grub.SlotA, "kernel v1") }, want: []string{lostBlock, neverHalf},
		},
		"the commit is forgotten": {state: committed, history: good, want: []string{neverLost}},
		"last-good names a slot that is not proven": {
			state: committed, history: before,
			spoil: func(t *testing.T) { a.lastGood(t, grub.SlotB) }, want: []string{lostBlock},
		},
		"no grub.cfg": {
			state: committed, history: before,
			spoil: func(t *testing.T) { a.noConfig(t) }, want: []string{lostBlock, bootsSomething},
		},
	} {
		t.Run(name, func(t *testing.T) {
			mark := a.disk.mark()
			a.set(t, c.state)
			if c.spoil != nil {
				c.spoil(t)
			}
			s := &story{name: "made-up", first: "v1", candidate: "v2", healthy: true, history: c.history}
			h := &hearing{judge: a.judge, disk: a.disk, cut: cut{story: s, requests: 100}}
			if err := h.try(t.Context()); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range h.found {
				got = append(got, v.invariant)
			}
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, c.want) {
				t.Errorf("the judge finds %v, want %v\n%+v", got, c.want, h.found)
			}
			if err := a.disk.undo(mark); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Logf("GRUB ran %d times, %d slots were read", a.boots.ran(), a.slots.ran())
}

// lastGood writes the second block.
func (a *arena) lastGood(t *testing.T, slot grub.Slot) {
	t.Helper()
	p := a.layout.Partitions[0]
	b, err := a.disk.read(p.Start, p.Size)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, grub.LastGoodBlock(grub.SlotA))
	if err := a.disk.write(p.Start+int64(at), grub.LastGoodBlock(slot)); err != nil {
		t.Fatal(err)
	}
}

// noConfig overwrites the name of grub.cfg in its folder.
func (a *arena) noConfig(t *testing.T) {
	t.Helper()
	p := a.layout.Partitions[0]
	b, err := a.disk.read(p.Start, p.Size)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte("GRUB    CFG"))
	if err := a.disk.write(p.Start+int64(at), []byte("LOST    ")); err != nil {
		t.Fatal(err)
	}
}
