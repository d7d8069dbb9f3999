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

// blockKind is what has happened to the environment block.
type blockKind string

const (
	intact     blockKind = "intact"
	unwritable blockKind = "unwritable"
	missing    blockKind = "missing"
	empty      blockKind = "empty"
	zeroed     blockKind = "zeroed"
	crlf       blockKind = "crlf"
	cutHeader  blockKind = "truncated in the header"
	cutBehind  blockKind = "truncated behind the header"
	cutLast    blockKind = "truncated in our last variable"
	cutUnused  blockKind = "truncated behind our variables"
)

// damages reports whether GRUB can see the damage. A block that lost nothing but
// its second sector still has the whole boot state.
func (k blockKind) damages() bool {
	return k != intact && k != unwritable && k != cutUnused
}

// content returns what the file holds; nil if it is missing.
func (k blockKind) content(block []byte) []byte {
	last := bytes.Index(block, []byte(varActive)) + len(varActive)
	switch k {
	case missing:
		return nil
	case empty:
		return []byte{}
	case zeroed:
		return make([]byte, BlockSize)
	case crlf:
		return bytes.ReplaceAll(block, []byte("\n"), []byte("\r\n"))
	case cutHeader:
		return block[:10]
	case cutBehind:
		return block[:len(blockHeader)]
	case cutLast:
		return block[:last+2]
	case cutUnused:
		return block[:sectorSize]
	}
	return block
}

// proofCase is one state of a node before a boot.
type proofCase struct {
	kind     blockKind
	state    State
	lastGood Slot
	kernelA  bool
	kernelB  bool
}

func (c proofCase) facts() Facts {
	return Facts{
		Damaged:    c.kind.damages(),
		Unwritable: c.kind == unwritable,
		LastGood:   c.lastGood,
		NoKernelA:  !c.kernelA,
		NoKernelB:  !c.kernelB,
	}
}

func (c proofCase) block(t testing.TB) []byte {
	b := NewBlock()
	if err := Encode(b, c.state); err != nil {
		t.Fatal(err)
	}
	return c.kind.content(b.Bytes())
}

// allStates returns every boot state that a block can hold.
func allStates() []State {
	var all []State
	for i := range 1 << 6 {
		bit := func(n int) bool { return i>>n&1 == 1 }
		s := State{Active: SlotA, Counter: i & 3, Success: bit(2), AOK: bit(3), BOK: bit(4), BootID: "0123456789abcdef"}
		if bit(5) {
			s.Active = SlotB
		}
		all = append(all, s)
	}
	return all
}

// allCases returns every combination; with -short, every seventh of them.
func allCases() []proofCase {
	kinds := []blockKind{intact, unwritable, missing, empty, zeroed, crlf, cutHeader, cutBehind, cutLast, cutUnused}
	var all []proofCase
	for _, kind := range kinds {
		for i := range 4 {
			for _, lastGood := range []Slot{"", SlotA, SlotB} {
				for _, s := range allStates() {
					all = append(all, proofCase{kind, s, lastGood, i&1 == 0, i&2 == 0})
				}
			}
		}
	}
	if testing.Short() {
		return sample(all)
	}
	return all
}

func sample(all []proofCase) []proofCase {
	var some []proofCase
	for i := 0; i < len(all); i += 7 {
		some = append(some, all[i])
	}
	return some
}

// proofResult is what GRUB did with a case.
type proofResult struct {
	after   State // of a damaged block: as it was, if the file was not touched
	outcome Outcome
}

// TestGRUBDecidesAsTheModel runs the real grub.cfg on the real GRUB for every
// state that a node can be in, and compares what it boots and what it leaves in
// the block with State.Boot. Then it checks what both must hold.
func TestGRUBDecidesAsTheModel(t *testing.T) {
	cases := allCases()
	p := newParts(t)
	results, boots := runAll(t, p, cases)
	for _, c := range cases {
		wantAfter, wantOutcome := c.state.Boot(c.facts())
		got := results[c]
		if got.after != wantAfter || got.outcome != wantOutcome {
			t.Errorf("%+v:\nGRUB:  %+v\nmodel: %+v", c, got, proofResult{wantAfter, wantOutcome})
		}
	}
	if t.Failed() {
		return
	}
	checkAll(t, results)
	fmt.Printf("proof: %d states of a node, %d different disks, booted on the real GRUB: all as the model says\n", len(cases), boots)
}

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
	}
	type espKey struct {
		size     int
		lastGood bool
	}
	cfg := testConfig(t)
	esps := make(map[espKey][]byte)
	groups := make(map[key]*diskGroup)
	var order []*diskGroup
	for _, c := range cases {
		k := key{size: -1, lastGood: c.lastGood != "", kernelA: c.kernelA, kernelB: c.kernelB}
		if block := c.block(t); block != nil {
			k.size = len(block)
		}
		if groups[k] == nil {
			ek := espKey{k.size, k.lastGood}
			if esps[ek] == nil {
				esps[ek] = p.esp(t, espFiles(cfg, k.size, k.lastGood))
			}
			image := p.disk(esps[ek], p.slot(t, "SYSTEM-A", k.kernelA), p.slot(t, "SYSTEM-B", k.kernelB))
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

// checkAll checks the safety claims on what GRUB did, without asking the model.
func checkAll(t *testing.T, results map[proofCase]proofResult) {
	for c, r := range results {
		if r.outcome.Slot == "" {
			checkNothingBoots(t, c)
			continue
		}
		if !c.facts().loads(r.outcome.Slot) {
			t.Errorf("%+v: booted a slot without a kernel", c)
		}
		if !c.kind.damages() {
			checkProvenOrCounted(t, c, r)
			checkChain(t, c, results)
		}
	}
}

// checkProvenOrCounted: a slot that is not proven is booted only if that boot was
// counted, and the kernel was told so.
func checkProvenOrCounted(t *testing.T, c proofCase, r proofResult) {
	slot := r.outcome.Slot
	onTrial := c.state.Trial() && slot == c.state.Active
	counted := r.after.Counter == c.state.Counter-1 && r.outcome.Try == Attempts-r.after.Counter && r.after.Trial()
	committed := c.state.Success && slot == c.state.Active
	switch {
	case onTrial && !counted:
		t.Errorf("%+v: slot on trial booted uncounted: %+v", c, r)
	case !onTrial && r.outcome.Try != 0:
		t.Errorf("%+v: not a trial, but the kernel is told so: %+v", c, r)
	case !c.state.OK(slot) && !committed:
		t.Errorf("%+v: slot booted although it may not be: %+v", c, r)
	case c.state.Success && r.after != c.state:
		t.Errorf("%+v: a committed state was changed: %+v", c, r)
	}
}

// checkNothingBoots: GRUB boots nothing only if every slot that it may boot lacks
// its kernel.
func checkNothingBoots(t *testing.T, c proofCase) {
	for _, slot := range []Slot{SlotA, SlotB} {
		committed := c.state.Success && slot == c.state.Active
		proven := c.state.OK(slot) && slot != c.state.Active
		countable := c.state.Trial() && slot == c.state.Active && c.state.OK(slot) && c.state.Counter > 0 && c.kind != unwritable
		if c.facts().loads(slot) && (c.kind.damages() || committed || proven || countable) {
			t.Errorf("%+v: nothing is booted, but slot %s could be", c, slot)
		}
	}
}

// checkChain follows one boot after the other, none of which ends well: the state
// comes to rest, the active slot changes at most once, and a slot on trial is not
// booted more than Attempts times.
func checkChain(t *testing.T, c proofCase, results map[proofCase]proofResult) {
	start, trials, switches := c, 0, 0
	for boot := 0; ; boot++ {
		r, ok := results[c]
		if !ok {
			return // only a sample was booted
		}
		if r.outcome.Try > 0 {
			trials++
		}
		if r.after.Active != c.state.Active {
			switches++
		}
		if r.after == c.state {
			break
		}
		if boot > Attempts {
			t.Errorf("%+v: not decided after %d boots", start, boot)
			return
		}
		c.state = r.after
	}
	if trials > Attempts || switches > 1 {
		t.Errorf("%+v: %d trial boots, %d changes of the active slot", start, trials, switches)
	}
	rest := results[c].outcome.Slot
	if rest != "" && start.state.Trial() && rest == start.state.Active {
		t.Errorf("%+v: a trial that never ended well ends in its own slot", start)
	}
}
