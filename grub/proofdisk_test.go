package grub

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// runAll returns what GRUB does in each case. Cases that make the same disk share
// one boot: without a block, its state is nowhere on the disk.
func runAll(t *testing.T, p *parts, cases []proofCase) (map[proofCase]proofResult, int) {
	groups := groupByDisk(t, p, cases)
	results := make(map[proofCase]proofResult)
	var mu sync.Mutex
	var boots atomic.Int64
	var workers sync.WaitGroup
	work := make(chan *diskGroup)
	for range 2 {
		e := newEmulator(t)
		workers.Go(func() {
			for g := range work {
				got, n, err := g.run(t, e)
				if err != nil {
					t.Error(err)
				}
				boots.Add(int64(n))
				mu.Lock()
				maps.Copy(results, got)
				mu.Unlock()
			}
		})
	}
	for _, g := range groups {
		work <- g
	}
	close(work)
	workers.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return results, int(boots.Load())
}

// diskGroup are the cases whose disks differ only in the bytes of the two blocks.
type diskGroup struct {
	image      []byte
	envAt      int // offset of grubenv in image; -1: it has no bytes
	lastGoodAt int
	cases      []proofCase
}

func groupByDisk(t *testing.T, p *parts, cases []proofCase) []*diskGroup {
	type key struct {
		size             int // of grubenv; -1: missing
		lastGood         bool
		kernelA, kernelB bool
		check            CheckMode
		sumsA, sumsB     SumsResult
	}
	type espKey struct {
		size     int
		lastGood bool
		check    CheckMode
	}
	cfg := testConfig(t)
	esps := make(map[espKey][]byte)
	groups := make(map[key]*diskGroup)
	var order []*diskGroup
	for _, c := range cases {
		k := key{-1, c.lastGood != "", c.kernelA, c.kernelB, c.check, c.sumsA, c.sumsB}
		if block := c.block(t); block != nil {
			k.size = len(block)
		}
		if groups[k] == nil {
			ek := espKey{k.size, k.lastGood, k.check}
			if esps[ek] == nil {
				files := espFiles(cfg, k.size, k.lastGood)
				if k.check != CheckTrial { // which is what holds without settings
					files[SettingsFile] = settings(t, string(k.check))
				}
				esps[ek] = p.esp(t, files)
			}
			image := p.disk(esps[ek], p.slotWith(t, "SYSTEM-A", k.kernelA, k.sumsA), p.slotWith(t, "SYSTEM-B", k.kernelB, k.sumsB))
			groups[k] = &diskGroup{
				image:      image,
				envAt:      findMark(image, 'E', k.size),
				lastGoodAt: findMark(image, 'L', BlockSize),
			}
			order = append(order, groups[k])
		}
		groups[k].cases = append(groups[k].cases, c)
	}
	return order
}

// espFiles returns the ESP's files, the blocks filled with marks.
func espFiles(cfg []byte, size int, lastGood bool) map[string][]byte {
	files := map[string][]byte{"grub.cfg": cfg}
	if size >= 0 {
		files[EnvFile] = bytes.Repeat([]byte{'E'}, size)
	}
	if lastGood {
		files[LastGoodFile] = bytes.Repeat([]byte{'L'}, BlockSize)
	}
	return files
}

// settings returns an operator's block.
func settings(t *testing.T, check string) []byte {
	t.Helper()
	b := NewBlock()
	if err := b.Set(varCheck, check); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func findMark(image []byte, mark byte, size int) int {
	if size <= 0 {
		return -1
	}
	return bytes.Index(image, bytes.Repeat([]byte{mark}, size))
}

// run boots every case of the group and returns the results and how many boots
// that took.
func (g *diskGroup) run(t *testing.T, e *emulator) (map[proofCase]proofResult, int, error) {
	path := filepath.Join(e.dir, "disk.img")
	type diskKey struct {
		block      string
		lastGood   Slot
		unwritable bool
	}
	type seen struct {
		outcome Outcome
		block   []byte
	}
	done := make(map[diskKey]seen)
	results := make(map[proofCase]proofResult)
	if err := os.WriteFile(path, g.image, 0o600); err != nil {
		return nil, 0, err
	}
	for _, c := range g.cases {
		block := c.block(t)
		k := diskKey{string(block), c.lastGood, c.kind == unwritable}
		if _, ok := done[k]; !ok {
			image := g.with(block, c.lastGood)
			after, outcome, err := g.boot(e, path, image, c)
			if err != nil {
				return results, len(done), fmt.Errorf("%+v: %w", c, err)
			}
			done[k] = seen{outcome, after}
		}
		r := proofResult{after: c.state, outcome: done[k].outcome}
		if !bytes.Equal(done[k].block, block) {
			var err error
			if r.after, err = decodeShort(done[k].block); err != nil {
				return results, len(done), fmt.Errorf("%+v: block after the boot: %w", c, err)
			}
		}
		results[c] = r
	}
	return results, len(done), nil
}

// with returns the group's disk with these blocks.
func (g *diskGroup) with(block []byte, lastGood Slot) []byte {
	image := bytes.Clone(g.image)
	if g.envAt >= 0 {
		copy(image[g.envAt:], block)
	}
	if g.lastGoodAt >= 0 {
		copy(image[g.lastGoodAt:], LastGoodBlock(lastGood))
	}
	return image
}

// boot boots one disk and returns the block afterwards. GRUB must not have
// changed anything else, and of the block only the first sector.
func (g *diskGroup) boot(e *emulator, path string, image []byte, c proofCase) ([]byte, Outcome, error) {
	if err := overwrite(path, image); err != nil {
		return nil, Outcome{}, err
	}
	b, err := e.run(0, c.kind == unwritable, path)
	if err != nil {
		return nil, Outcome{}, err
	}
	after, err := os.ReadFile(path)
	if err != nil {
		return nil, Outcome{}, err
	}
	var block []byte
	if size := len(c.kind.content(bytes.Clone(InitialBlock(SlotA)))); g.envAt >= 0 {
		block = bytes.Clone(after[g.envAt : g.envAt+size])
		first := g.envAt + min(size, sectorSize)
		copy(after[g.envAt:first], image[g.envAt:first])
	}
	if !bytes.Equal(after, image) {
		return nil, Outcome{}, fmt.Errorf("GRUB wrote to something else than the block's first sector")
	}
	return block, b.outcome, nil
}

// overwrite writes without giving up the file's pages, which is faster.
func overwrite(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(data, 0)
	return err
}

// decodeShort decodes a block that may lack its second sector.
func decodeShort(block []byte) (State, error) {
	full := bytes.Repeat([]byte{'#'}, BlockSize)
	copy(full, block)
	b, err := ParseBlock(full)
	if err != nil {
		return State{}, err
	}
	return Decode(b)
}
