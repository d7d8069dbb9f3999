package grub

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// bench is one disk whose blocks can be changed, and a GRUB to boot it.
type bench struct {
	group diskGroup
	emu   *emulator
	path  string
}

func newBench(t *testing.T, p *parts, cfg, slotA, slotB []byte) *bench {
	t.Helper()
	esp := p.esp(t, espFiles(cfg, BlockSize, true))
	image := p.disk(esp, slotA, slotB)
	b := &bench{emu: newEmulator(t), group: diskGroup{
		image:      image,
		envAt:      findMark(image, 'E', BlockSize),
		lastGoodAt: findMark(image, 'L', BlockSize),
	}}
	b.path = filepath.Join(b.emu.dir, "disk.img")
	writeFile(t, b.path, image)
	return b
}

// boot boots the disk with these blocks and returns the block afterwards.
func (b *bench) boot(t *testing.T, block []byte, lastGood Slot) (booted, []byte) {
	t.Helper()
	if err := overwrite(b.path, b.group.with(block, lastGood)); err != nil {
		t.Fatal(err)
	}
	got, err := b.emu.run(0, false, b.path)
	if err != nil {
		t.Fatal(err)
	}
	return got, readFile(t, b.path)[b.group.envAt:][:BlockSize]
}

// menuEntries says what each entry does, as a function of the state.
func menuEntries() []func(State) (State, Outcome) {
	boot := func(s State) (State, Outcome) { return s.Boot(Facts{}) }
	choose := func(slot Slot) func(State) (State, Outcome) {
		return func(s State) (State, Outcome) {
			if s.Active == slot {
				return s.Boot(Facts{})
			}
			return s, Outcome{Slot: slot, BootID: s.BootID}
		}
	}
	other := func(s State) (State, Outcome) { return choose(s.Active.Other())(s) }
	switchSlot := func(s State) (State, Outcome) {
		after, err := s.Rollback(s.Active.Other())
		if err != nil {
			return s, Outcome{}
		}
		return after.Boot(Facts{})
	}
	resort := func(s State) (State, Outcome) { return s, Outcome{} }
	return []func(State) (State, Outcome){boot, choose(SlotA), choose(SlotB), boot, boot, other, switchSlot, resort}
}

// TestMenuEntries runs every entry of the menu from every boot state.
func TestMenuEntries(t *testing.T) {
	p := newParts(t)
	states := allStates()
	if testing.Short() {
		states = states[:len(states):len(states)][32:40]
	}
	for n, entry := range menuEntries() {
		cfg := bytes.Replace(testConfig(t), []byte("set default=0\n"), fmt.Appendf(nil, "set default=%d\n", n), 1)
		b := newBench(t, p, cfg, p.slot(t, "SYSTEM-A", true), p.slot(t, "SYSTEM-B", true))
		for _, s := range states {
			got, after := b.boot(t, proofCase{kind: intact, state: s}.block(t), SlotA)
			wantState, want := entry(s)
			state, err := Decode(mustParse(t, after))
			if got.outcome != want || err != nil || state != wantState {
				t.Errorf("entry %d, %+v:\nGRUB:  %+v %+v %v\nmodel: %+v %+v", n, s, state, got.outcome, err, wantState, want)
			}
			checkWords(t, n, got)
		}
	}
}

// checkWords checks the arguments that depend on the entry.
func checkWords(t *testing.T, entry int, got booted) {
	t.Helper()
	if got.resort {
		return
	}
	want := "console=tty0 quiet console=ttyS0 -- single"
	switch entry {
	case 3:
		want = "console=tty0 console=ttyS0 debug ignore_loglevel -- single"
	case 4:
		want = "console=tty0 console=ttyS0 tufboot.shell=1 rdinit=/bin/sh -- single"
	}
	if got.outcome.Try > 0 {
		want = stuckArgs + " " + want
	}
	want = "panic=10 " + want
	if words := strings.Join(got.words[5:], " "); words != want {
		t.Errorf("entry %d: %s", entry, words)
	}
}

// TestGRUBAndDecodeAgreeOnNonsense: what Decode calls damaged, GRUB does too, and
// boots by last-good.
func TestGRUBAndDecodeAgreeOnNonsense(t *testing.T) {
	p := newParts(t)
	b := newBench(t, p, testConfig(t), p.slot(t, "SYSTEM-A", true), p.slot(t, "SYSTEM-B", true))
	for _, e := range nonsense() {
		block := mustParse(t, InitialBlock(SlotA))
		if err := block.Set(e.name, e.value); err != nil {
			t.Fatal(err)
		}
		got, after := b.boot(t, block.Bytes(), SlotB)
		if got.outcome != (Outcome{Slot: SlotB}) || !bytes.Equal(after, block.Bytes()) {
			t.Errorf("%s=%q: %+v", e.name, e.value, got.outcome)
		}
	}
	for _, name := range stateVariables() {
		block := mustParse(t, InitialBlock(SlotA))
		block.Unset(name)
		if got, _ := b.boot(t, block.Bytes(), SlotB); got.outcome != (Outcome{Slot: SlotB}) {
			t.Errorf("%s missing: %+v", name, got.outcome)
		}
	}
}

// TestCountThatDoesNotStick: save_env says that it wrote, but the block read again
// has the old count: here since the variable is there twice, elsewhere since a disk
// drops writes. The slot on trial must not be booted uncounted.
func TestCountThatDoesNotStick(t *testing.T) {
	p := newParts(t)
	b := newBench(t, p, testConfig(t), p.slot(t, "SYSTEM-A", true), p.slot(t, "SYSTEM-B", true))
	s := State{Active: SlotB, Counter: 3, AOK: true, BOK: true, BootID: trialID}
	block := proofCase{kind: intact, state: s}.block(t)
	copy(block[bytes.Index(block, []byte("###")):], "boot_counter=3\n")
	for range Attempts + 1 {
		var got booted
		got, block = b.boot(t, block, SlotA)
		if got.outcome.Slot != SlotA || got.outcome.Try != 0 {
			t.Fatalf("%+v", got.outcome)
		}
	}
}

// TestUSBStickDoesNotShadow: another disk has the same labels, before or after
// the one that GRUB was loaded from. Its slots would pass for ours.
func TestUSBStickDoesNotShadow(t *testing.T) {
	p := newParts(t)
	b := newBench(t, p, testConfig(t), p.slot(t, "SYSTEM-A", true), p.slot(t, "SYSTEM-B", true))
	node := b.group.with(InitialBlock(SlotB), SlotB)
	stick := b.group.with(InitialBlock(SlotA), SlotA)
	nodePath, stickPath := filepath.Join(b.emu.dir, "node.img"), filepath.Join(b.emu.dir, "stick.img")
	for number, disks := range [][]string{{nodePath, stickPath}, {stickPath, nodePath}} {
		for _, noKernel := range []bool{false, true} {
			ours, want := node, Outcome{Slot: SlotB}
			if noKernel {
				ours = bytes.Clone(node)
				copy(ours[slotAStart*sectorSize:], p.slot(t, "SYSTEM-A", false))
				copy(ours[slotBStart*sectorSize:], p.slot(t, "SYSTEM-B", false))
				want = Outcome{}
			}
			writeFile(t, nodePath, ours)
			writeFile(t, stickPath, stick)
			got, err := b.emu.run(number, false, disks...)
			if err != nil {
				t.Fatal(err)
			}
			if got.outcome != want {
				t.Errorf("node is hd%d: %+v, want %+v", number, got.outcome, want)
			}
			if want.Slot != "" && !strings.HasPrefix(got.words[0], fmt.Sprintf("(hd%d,", number)) {
				t.Errorf("node is hd%d: kernel %s", number, got.words[0])
			}
			if !bytes.Equal(readFile(t, stickPath), stick) {
				t.Error("GRUB wrote to the stick")
			}
		}
	}
}

// TestSlotThatCannotBeBooted: what a slot can lack, each leads to the other slot in
// the same boot; a slot on trial is given up.
func TestSlotThatCannotBeBooted(t *testing.T) {
	args, err := CmdlineConfig("quiet")
	if err != nil {
		t.Fatal(err)
	}
	whole := func() map[string][]byte {
		return map[string][]byte{KernelFile: []byte("k"), InitramfsFile: []byte("i"), CmdlineFile: args}
	}
	without := func(name string) map[string][]byte {
		files := whole()
		delete(files, name)
		return files
	}
	with := func(name string, data []byte) map[string][]byte {
		files := whole()
		files[name] = data
		return files
	}
	p := newParts(t)
	for name, slot := range map[string][]byte{
		"no kernel":         p.ext4(t, "SYSTEM-B", without(KernelFile)),
		"no initramfs":      p.ext4(t, "SYSTEM-B", without(InitramfsFile)),
		"no arguments":      p.ext4(t, "SYSTEM-B", without(CmdlineFile)),
		"empty arguments":   p.ext4(t, "SYSTEM-B", with(CmdlineFile, []byte{})),
		"arguments cut":     p.ext4(t, "SYSTEM-B", with(CmdlineFile, args[:len(args)-5])),
		"arguments garbage": p.ext4(t, "SYSTEM-B", with(CmdlineFile, bytes.Repeat([]byte{0xff, '(', '"', 0, '\n'}, 50))),
		"another label":     p.ext4(t, "SYSTEM-C", whole()),
		"no file system":    make([]byte, partSectors*sectorSize),
	} {
		b := newBench(t, p, testConfig(t), p.slot(t, "SYSTEM-A", true), slot)
		for _, s := range []State{
			{Active: SlotB, Success: true, AOK: true, BOK: true},
			{Active: SlotB, Counter: 3, AOK: true, BOK: true, BootID: trialID},
		} {
			wantState, want := s.Boot(Facts{NoKernelB: true})
			got, after := b.boot(t, proofCase{kind: intact, state: s}.block(t), SlotA)
			if state, err := Decode(mustParse(t, after)); got.outcome != want || err != nil || state != wantState {
				t.Errorf("%s: %+v, %+v, %v; want %+v, %+v", name, got.outcome, state, err, want, wantState)
			}
		}
	}
}

// TestKernelArgumentsArriveAsTheyAre: what CmdlineConfig accepts reaches the kernel
// word by word, whatever GRUB's script language would make of it.
func TestKernelArgumentsArriveAsTheyAre(t *testing.T) {
	const cmdline = "a=$root b=${x} c;d e#f #g {h} <i> !j k&l m|n o=*? p=[q] %r ~s `t` ,u a=/x* -- -v quiet"
	args, err := CmdlineConfig(cmdline)
	if err != nil {
		t.Fatal(err)
	}
	p := newParts(t)
	slot := p.ext4(t, "SYSTEM-A", map[string][]byte{KernelFile: []byte("k"), InitramfsFile: []byte("i"), CmdlineFile: args})
	b := newBench(t, p, testConfig(t), slot, p.slot(t, "SYSTEM-B", true))
	got, _ := b.boot(t, InitialBlock(SlotA), SlotA)
	if words := strings.Join(got.words[6:], " "); words != cmdline {
		t.Errorf("\n%s became\n%s\n%s", cmdline, words, got.output)
	}
}

// TestGivenUp: a trial with nothing left, and one whose slot may not be booted, end
// for good; what may not be booted is no way back.
func TestGivenUp(t *testing.T) {
	p := newParts(t)
	b := newBench(t, p, testConfig(t), p.slot(t, "SYSTEM-A", true), p.slot(t, "SYSTEM-B", true))
	for _, s := range []State{
		{Active: SlotB, AOK: true, BOK: true, BootID: trialID},
		{Active: SlotB, BOK: true, BootID: trialID},
		{Active: SlotA, Counter: 2, BOK: true, BootID: trialID},
	} {
		got, after := b.boot(t, proofCase{kind: intact, state: s}.block(t), SlotA)
		wantState, want := s.Boot(Facts{})
		if state, err := Decode(mustParse(t, after)); got.outcome != want || err != nil || state != wantState {
			t.Errorf("%+v:\nGRUB:  %+v %+v %v\nmodel: %+v %+v", s, state, got.outcome, err, wantState, want)
		}
	}
}

// TestCorruptSlotOnTrial: it is passed over only where the other one is certainly whole.
func TestCorruptSlotOnTrial(t *testing.T) {
	p := newParts(t)
	s := State{Active: SlotA, Counter: 3, AOK: true, BOK: true, BootID: trialID}
	for _, other := range []SumsResult{SumsNone, SumsMatch, SumsDiffer} {
		b := newBench(t, p, testConfig(t), p.slotWith(t, "SYSTEM-A", true, SumsDiffer), p.slotWith(t, "SYSTEM-B", true, other))
		got, after := b.boot(t, proofCase{kind: intact, state: s}.block(t), SlotA)
		wantState, want := s.Boot(Facts{Check: CheckTrial, SumsA: SumsDiffer, SumsB: other})
		if state, err := Decode(mustParse(t, after)); got.outcome != want || err != nil || state != wantState {
			t.Errorf("%v:\nGRUB:  %+v %+v %v\nmodel: %+v %+v", other, state, got.outcome, err, wantState, want)
		}
	}
}
