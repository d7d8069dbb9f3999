package grub

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Names of the two block files in the folder on the ESP that holds grub.cfg.
const (
	EnvFile      = "grubenv"
	LastGoodFile = "last-good"
)

// Env is the environment block in its file, and last-good beside it. All of its
// methods may be called by several processes at once: writers wait for each
// other (flock on the file itself, which is never replaced).
type Env struct {
	Path     string // the environment block
	LastGood string // the second block, that only the agent writes
}

// Read returns the boot state. The error wraps ErrDamaged if the block is
// missing, empty, zeroed, cut short, has another header or makes no sense; any
// other error means that the file could not be read.
func (e Env) Read() (State, error) {
	b, err := readBlock(e.Path)
	if err != nil {
		return State{}, err
	}
	s, err := Decode(b)
	return s, inFile(e.Path, err)
}

// Update writes the state that transition makes of the current one, and returns
// it. Only the sectors that differ are written, in place; then the file is synced
// and read again past the page cache where the file system can. When transition
// fails or changes nothing, nothing is written. The error wraps ErrDamaged if the
// block cannot be used (see Repair).
func (e Env) Update(transition func(State) (State, error)) (State, error) {
	f, err := openLocked(e.Path, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, inFile(e.Path, damaged("it is missing"))
	}
	if err != nil {
		return State{}, err
	}
	defer f.Close()
	before, err := readFrom(f)
	if err != nil {
		return State{}, err
	}
	b, err := ParseBlock(before)
	if err != nil {
		return State{}, inFile(e.Path, err)
	}
	old, err := Decode(b)
	if err != nil {
		return State{}, inFile(e.Path, err)
	}
	s, err := transition(old)
	if err != nil {
		return old, err
	}
	if err := Encode(b, s); err != nil {
		return old, inFile(e.Path, fmt.Errorf("%s: %w", e.Path, err))
	}
	if err := writeChanges(f, before, b.buf); err != nil {
		return old, err
	}
	return s, nil
}

// Repair writes a new block with the state s and nothing else, in place; it makes
// the file when it is missing. Variables of others are lost: whatever damaged the
// block may have damaged them too.
func (e Env) Repair(s State) error {
	b := NewBlock()
	if err := Encode(b, s); err != nil {
		return fmt.Errorf("repair %s: %w", e.Path, err)
	}
	return replaceContent(e.Path, b.buf)
}

// WriteLastGood makes slot the one that GRUB boots when the block is damaged. It
// writes nothing if last-good says so already.
func (e Env) WriteLastGood(slot Slot) error {
	if _, err := ParseSlot(string(slot)); err != nil {
		return fmt.Errorf("write %s: %w", e.LastGood, err)
	}
	if have, err := e.ReadLastGood(); err == nil && have == slot {
		return nil
	}
	return replaceContent(e.LastGood, LastGoodBlock(slot))
}

// ReadLastGood returns the slot that GRUB boots when the block is damaged. The
// error wraps ErrDamaged if last-good is missing or cannot be used; GRUB then
// boots slot A.
func (e Env) ReadLastGood() (Slot, error) {
	b, err := readBlock(e.LastGood)
	if err != nil {
		return "", err
	}
	value, ok := b.Get(varLastGood)
	if !ok {
		return "", inFile(e.LastGood, damaged(varLastGood+" is missing"))
	}
	slot, err := ParseSlot(value)
	if err != nil {
		return "", inFile(e.LastGood, damaged(fmt.Sprintf("%s=%q means nothing", varLastGood, value)))
	}
	return slot, nil
}

// InitialBlock returns the environment block of a new disk: both slots may be
// booted and active is committed.
func InitialBlock(active Slot) []byte {
	b := NewBlock()
	if err := Encode(b, State{Active: active, Success: true, AOK: true, BOK: true}); err != nil {
		panic(err) // an empty block has room, and active is the caller's constant
	}
	return b.Bytes()
}

// LastGoodBlock returns the content of last-good that names slot.
func LastGoodBlock(slot Slot) []byte {
	b := NewBlock()
	if err := b.Set(varLastGood, string(slot)); err != nil {
		panic(err) // an empty block has room
	}
	return b.Bytes()
}

func readBlock(path string) (*Block, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, inFile(path, damaged("it is missing"))
	}
	if err != nil {
		return nil, fmt.Errorf("environment block: %w", err)
	}
	defer f.Close()
	data, err := readFrom(f)
	if err != nil {
		return nil, err
	}
	b, err := ParseBlock(data)
	return b, inFile(path, err)
}

// writeChanges writes the sectors in which after differs from before, and proves
// that the file has them.
func writeChanges(f *os.File, before, after []byte) error {
	if bytes.Equal(before, after) {
		return nil
	}
	for at := 0; at < len(after); at += sectorSize {
		sector := after[at : at+sectorSize]
		if bytes.Equal(before[at:at+sectorSize], sector) {
			continue
		}
		if _, err := f.WriteAt(sector, int64(at)); err != nil {
			return fmt.Errorf("write environment block: %w", err)
		}
	}
	return syncAndVerify(f, after)
}
