package grub

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func newEnv(t *testing.T, block []byte) Env {
	t.Helper()
	dir := t.TempDir()
	e := Env{Path: filepath.Join(dir, EnvFile), LastGood: filepath.Join(dir, LastGoodFile)}
	if block != nil {
		writeFile(t, e.Path, block)
	}
	return e
}

// replaced returns a function that reports whether path is another file by then.
// It keeps the file open, so that its inode number is not given to another one.
func replaced(t *testing.T, path string) func() bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return func() bool {
		before, err := f.Stat()
		after, err2 := os.Stat(path)
		return errors.Join(err, err2) != nil || !os.SameFile(before, after)
	}
}

// foreignBlock is a block as a distribution's tools leave it: their comment, and
// variables of others before, between and behind ours.
func foreignBlock(t *testing.T) []byte {
	t.Helper()
	after, _, ok := editenv(t, nil, "create")
	if !ok {
		t.Fatal("grub-editenv create failed")
	}
	after, _, ok = editenv(t, after, "set", "saved_entry=x", "active_slot=A", "boot_success=1", "their=a\\b",
		"boot_counter=0", "A_ok=1", "B_ok=1", "boot_id="+noBootID, "last="+strings.Repeat("y", 500))
	if !ok {
		t.Fatal("grub-editenv set failed")
	}
	return after
}

// TestTransitionChangesOneSector: every transition that the agent can write, from
// every state, leaves the second sector, the file's length and the file itself as
// they were.
func TestTransitionChangesOneSector(t *testing.T) {
	const id = "feedfacecafebeef"
	transitions := map[string]func(State) (State, error){
		"invalidate A": func(s State) (State, error) { return s.Invalidate(SlotA) },
		"invalidate B": func(s State) (State, error) { return s.Invalidate(SlotB) },
		"arm A":        func(s State) (State, error) { return s.Arm(SlotA, id) },
		"arm B":        func(s State) (State, error) { return s.Arm(SlotB, id) },
		"mark good":    State.MarkGood,
		"roll back A":  func(s State) (State, error) { return s.Rollback(SlotA) },
		"roll back B":  func(s State) (State, error) { return s.Rollback(SlotB) },
	}
	e := newEnv(t, foreignBlock(t))
	first, err := e.Update(func(s State) (State, error) { return s, nil })
	if err != nil {
		t.Fatal(err)
	}
	if want := (State{Active: SlotA, Success: true, AOK: true, BOK: true}); first != want {
		t.Fatalf("%+v", first)
	}
	isNew := replaced(t, e.Path)
	for name, transition := range transitions {
		for _, s := range allStates() {
			if _, err := e.Update(func(State) (State, error) { return s, nil }); err != nil {
				t.Fatal(err)
			}
			before := readFile(t, e.Path)
			got, err := e.Update(transition)
			want, wantErr := transition(s)
			if got != want || (err == nil) != (wantErr == nil) {
				t.Fatalf("%s of %+v: %+v, %v; want %+v, %v", name, s, got, err, want, wantErr)
			}
			after := readFile(t, e.Path)
			if len(after) != BlockSize || !bytes.Equal(before[sectorSize:], after[sectorSize:]) {
				t.Fatalf("%s of %+v changed more than the first sector", name, s)
			}
			if wantErr != nil && !bytes.Equal(before, after) {
				t.Fatalf("%s of %+v: refused, but written", name, s)
			}
		}
	}
	if isNew() {
		t.Error("the file was replaced")
	}
	checkForeign(t, readFile(t, e.Path))
}

func checkForeign(t *testing.T, data []byte) {
	t.Helper()
	_, out, ok := editenv(t, data, "list")
	for _, line := range []string{"saved_entry=x\n", "their=a\\b\n", "last=" + strings.Repeat("y", 500) + "\n"} {
		if !ok || !strings.Contains(out, line) {
			t.Errorf("variable of others lost: %q in\n%s", line, out)
		}
	}
	if !bytes.Contains(data, []byte("# WARNING: Do not edit")) {
		t.Error("comment lost")
	}
	if end := bytes.Index(data, []byte("\nactive_slot=")) + len("\nactive_slot=A\n"); end > sectorSize {
		t.Errorf("our variables end at %d, behind the first sector", end)
	}
}

func TestReadSaysWhatIsDamaged(t *testing.T) {
	s := State{Active: SlotA, Success: true, AOK: true, BOK: true}
	for _, kind := range []blockKind{missing, empty, zeroed, crlf, cutHeader, cutBehind, cutLast, cutUnused} {
		e := newEnv(t, proofCase{kind: kind, state: s}.block(t))
		_, err := e.Read()
		checkDamaged(t, string(kind), e.Path, err)
		_, err = e.Update(func(s State) (State, error) { return s.Rollback(SlotB) })
		checkDamaged(t, string(kind), e.Path, err)
		if kind == missing {
			if _, err := os.Stat(e.Path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Update made the missing file")
			}
		}
	}
}

func checkDamaged(t *testing.T, what, path string, err error) {
	t.Helper()
	var coded interface{ ReasonCode() string }
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) ||
		!errors.As(err, &coded) || coded.ReasonCode() != "grubenv-damaged" {
		t.Errorf("%s: %v", what, err)
	}
}

// nonsense are single variables that GRUB and the agent must both refuse.
func nonsense() []edit {
	return []edit{
		{varSuccess, ""}, {varSuccess, "2"}, {varSuccess, "01"}, {varSuccess, "1 "}, {varSuccess, "1\n"},
		{varCounter, ""}, {varCounter, "4"}, {varCounter, "x"}, {varCounter, "-1"}, {varCounter, "03"}, {varCounter, "2:"},
		{varAOK, "yes"}, {varAOK, ""}, {varBOK, "2"}, {varBOK, "\\"},
		{varBootID, ""}, {varBootID, "0123"}, {varBootID, "0123456789ABCDEF"}, {varBootID, "0123456789abcdef init=/bin/sh"},
		{varActive, ""}, {varActive, "C"}, {varActive, "a"}, {varActive, "AB"}, {varActive, "A:"},
	}
}

func TestDecodeRefusesNonsense(t *testing.T) {
	for _, e := range nonsense() {
		b := mustParse(t, InitialBlock(SlotA))
		if err := b.Set(e.name, e.value); err != nil {
			t.Fatal(err)
		}
		if s, err := Decode(b); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), e.name) {
			t.Errorf("%s=%q: %+v, %v", e.name, e.value, s, err)
		}
	}
	twice := mustParse(t, append(InitialBlock(SlotA)[:300], append([]byte("\nA_ok=1\n"), NewBlock().Bytes()[:BlockSize-308]...)...))
	if _, err := Decode(twice); !errors.Is(err, ErrDamaged) {
		t.Errorf("a variable that is there twice: %v", err)
	}
}

func TestRepair(t *testing.T) {
	want := State{Active: SlotB, Success: true, AOK: false, BOK: true}
	for _, kind := range []blockKind{intact, missing, empty, zeroed, crlf, cutHeader, cutLast} {
		e := newEnv(t, proofCase{kind: kind, state: State{Active: SlotA}}.block(t))
		isNew := func() bool { return false }
		if kind != missing {
			isNew = replaced(t, e.Path)
		}
		if err := e.Repair(want); err != nil {
			t.Fatal(err)
		}
		if got, err := e.Read(); err != nil || got != want {
			t.Errorf("%s: %+v, %v", kind, got, err)
		}
		if isNew() {
			t.Errorf("%s: the file was replaced", kind)
		}
	}
}

func TestLastGood(t *testing.T) {
	e := newEnv(t, nil)
	if _, err := e.ReadLastGood(); !errors.Is(err, ErrDamaged) {
		t.Errorf("missing: %v", err)
	}
	for _, slot := range []Slot{SlotA, SlotB, SlotB} {
		if err := e.WriteLastGood(slot); err != nil {
			t.Fatal(err)
		}
		if got, err := e.ReadLastGood(); err != nil || got != slot {
			t.Errorf("%s, %v, want %s", got, err, slot)
		}
		if !bytes.Equal(readFile(t, e.LastGood), LastGoodBlock(slot)) {
			t.Errorf("last-good differs from what the image's builder writes")
		}
	}
	writeFile(t, e.LastGood, blockWith("last_good=C\n"))
	if _, err := e.ReadLastGood(); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), e.LastGood) {
		t.Errorf("nonsense: %v", err)
	}
	if err := e.WriteLastGood("C"); err == nil {
		t.Error("slot C was written")
	}
}

// TestReadersNeverSeeAnUnfinishedBlock: while writers change the state and repair
// the block, a reader that takes no lock finds a whole block every time.
func TestReadersNeverSeeAnUnfinishedBlock(t *testing.T) {
	e := newEnv(t, InitialBlock(SlotA))
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				if _, err := e.Read(); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 100 {
		s := allStates()[i%len(allStates())]
		if _, err := e.Update(func(State) (State, error) { return s, nil }); err != nil {
			t.Error(err)
		}
		if err := e.Repair(s); err != nil {
			t.Error(err)
		}
	}
	close(done)
	readers.Wait()
}

// TestWritersWaitForEachOther: no transition is lost when several processes make
// some at once. Each open file has a lock of its own, so goroutines stand for them.
func TestWritersWaitForEachOther(t *testing.T) {
	const writers, each = 4, 25
	e := newEnv(t, InitialBlock(SlotA))
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if _, err := e.Update(countUp); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s, err := e.Read()
	if want := fmt.Sprintf("%016x", writers*each); err != nil || s.BootID != want {
		t.Errorf("%d writes were counted as 0x%s, not 0x%s (%v)", writers*each, s.BootID, want, err)
	}
}

func countUp(s State) (State, error) {
	n, err := strconv.ParseUint("0"+s.BootID, 16, 64)
	s.BootID = fmt.Sprintf("%016x", n+1)
	return s, err
}

// TestUpdateNoticesALostWrite: what the device holds is compared with what was to
// be written, whatever write and fsync said.
func TestUpdateNoticesALostWrite(t *testing.T) {
	e := newEnv(t, InitialBlock(SlotA))
	f, err := os.OpenFile(e.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syncAndVerify(f, InitialBlock(SlotA)); err != nil {
		t.Error(err)
	}
	if err := syncAndVerify(f, InitialBlock(SlotB)); err == nil || !strings.Contains(err.Error(), e.Path) {
		t.Errorf("a write that did not arrive: %v", err)
	}
}

func TestUpdateWritesNothingWhenNothingChanges(t *testing.T) {
	e := newEnv(t, InitialBlock(SlotA))
	if err := os.Chtimes(e.Path, fixedTime, fixedTime); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Update(State.MarkGood); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(e.Path)
	if err != nil || !info.ModTime().Equal(fixedTime) {
		t.Errorf("the file was written: %v, %v", info.ModTime(), err)
	}
}

// TestEncodeMakesRoom: blocks that others filled.
func TestEncodeMakesRoom(t *testing.T) {
	s := State{Active: SlotB, Counter: 2, AOK: true, BOK: true, BootID: "00000000000000ab"}
	for n := 0; n < BlockSize-len(blockHeader)-len("x=\n"); n++ {
		b := NewBlock()
		if err := b.Set("x", strings.Repeat("y", n)); err != nil {
			t.Fatal(err)
		}
		before := b.Bytes()
		err := Encode(b, s)
		if fits := n <= BlockSize-len(blockHeader)-len("x=\n")-len(stateLines()); fits != (err == nil) {
			t.Fatalf("%d bytes of others: %v", n, err)
		}
		if err != nil {
			if !errors.Is(err, ErrNoSpace) || !bytes.Equal(before, b.Bytes()) {
				t.Fatalf("%d bytes of others: %v", n, err)
			}
			continue
		}
		if got, err := Decode(b); err != nil || got != s {
			t.Fatalf("%d bytes of others: %+v, %v", n, got, err)
		}
		if x, _ := b.Get("x"); len(x) != n {
			t.Fatalf("%d bytes of others became %d", n, len(x))
		}
	}
}

// TestStateMovesIntoTheFirstSector: where others have filled the first sector, our
// variables take their place, all of them.
func TestStateMovesIntoTheFirstSector(t *testing.T) {
	s := State{Active: SlotB, Counter: 2, AOK: true, BOK: true, BootID: trialID}
	fill := strings.Repeat("y", 450)
	for _, before := range []string{"x=" + fill + "\n", "# " + fill + "\n"} {
		b := mustParse(t, blockWith(before+string(stateLines())))
		if err := Encode(b, s); err != nil {
			t.Fatal(err)
		}
		if end := bytes.Index(b.Bytes(), []byte("\nactive_slot=B\n")) + len("\nactive_slot=B\n"); end > sectorSize {
			t.Errorf("behind %.4q our variables end at %d, behind the first sector", before, end)
		}
		if !bytes.Contains(b.Bytes(), []byte(before)) {
			t.Errorf("%.4q was lost", before)
		}
	}
}
