package grub

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
)

// The variables of the boot state, in the order in which they stand in the block.
// active_slot is the last, so that a block that is cut short lacks it.
const (
	varSuccess = "boot_success"
	varCounter = "boot_counter"
	varAOK     = "A_ok"
	varBOK     = "B_ok"
	varBootID  = "boot_id"
	varActive  = "active_slot"
)

// varLastGood is the one variable of the second block.
const varLastGood = "last_good"

// noBootID is how "no trial" is written: boot_id has a fixed width.
const noBootID = "0000000000000000"

// sectorSize is the unit that a disk writes whole or not at all, and that GRUB
// reads and writes (GRUB_DISK_SECTOR_SIZE).
const sectorSize = 512

func stateVariables() []string {
	return []string{varSuccess, varCounter, varAOK, varBOK, varBootID, varActive}
}

// Decode returns the boot state that a block holds. A variable that is missing,
// there twice, or has a value that means nothing makes the whole block damaged:
// the error wraps ErrDamaged and names it. GRUB applies the same rule.
func Decode(b *Block) (State, error) {
	values := make(map[string]string)
	for _, v := range b.Variables() {
		if !slices.Contains(stateVariables(), v.Name) {
			continue
		}
		if _, twice := values[v.Name]; twice {
			return State{}, damaged(v.Name + " is there twice")
		}
		values[v.Name] = v.Value
	}
	for _, name := range stateVariables() {
		value, ok := values[name]
		if !ok {
			return State{}, damaged(name + " is missing")
		}
		if !sensible(name, value) {
			return State{}, damaged(fmt.Sprintf("%s=%q means nothing", name, value))
		}
	}
	s := State{
		Active:  Slot(values[varActive]),
		Counter: int(values[varCounter][0] - '0'),
		Success: values[varSuccess] == "1",
		AOK:     values[varAOK] == "1",
		BOK:     values[varBOK] == "1",
		BootID:  values[varBootID],
	}
	if s.BootID == noBootID {
		s.BootID = ""
	}
	return s, nil
}

// sensible reports whether value is one of the values that name can have.
func sensible(name, value string) bool {
	switch name {
	case varActive:
		return value == string(SlotA) || value == string(SlotB)
	case varCounter:
		return len(value) == 1 && value[0] >= '0' && value[0] <= '0'+Attempts
	case varBootID:
		return bootIDForm.MatchString(value)
	}
	return value == "0" || value == "1"
}

// Encode writes the boot state s into the block. Where our variables stand as
// Encode puts them, only their values change, in place; else they are moved
// together behind the leading comments, or to the very start, so that they all
// lie in the first sector. Comments and variables of others stay. The error wraps
// ErrNoSpace if they leave no room.
func Encode(b *Block, s State) error {
	values, err := s.values()
	if err != nil {
		return err
	}
	if !b.inPlace() {
		if err := b.makeRoom(); err != nil {
			return err
		}
	}
	for i, name := range stateVariables() {
		if err := b.Set(name, values[i]); err != nil {
			return err
		}
	}
	if got, err := Decode(b); err != nil || got != s {
		return damaged("lines of others hide the boot state")
	}
	return nil
}

// values returns the variables' values in the order of stateVariables.
func (s State) values() ([]string, error) {
	id := s.BootID
	if id == "" {
		id = noBootID
	}
	values := []string{bit(s.Success), strconv.Itoa(s.Counter), bit(s.AOK), bit(s.BOK), id, string(s.Active)}
	for i, name := range stateVariables() {
		if !sensible(name, values[i]) {
			return nil, fmt.Errorf("boot state: %q is no value for %s", values[i], name)
		}
	}
	return values, nil
}

func bit(set bool) string {
	if set {
		return "1"
	}
	return "0"
}

// stateLines is what our variables look like in a block, with values that stand
// for any of their width.
func stateLines() []byte {
	values, err := State{Active: SlotA}.values()
	if err != nil {
		panic(err) // the zero values above are sensible by construction
	}
	var lines []byte
	for i, name := range stateVariables() {
		lines = append(lines, name+"="+values[i]+"\n"...)
	}
	return lines
}

// inPlace reports whether our variables, each once and with values of the right
// width, stand in their order as whole lines within the first sector.
func (b *Block) inPlace() bool {
	names := stateVariables()
	var ours []string
	for _, v := range b.Variables() {
		if slices.Contains(names, v.Name) {
			ours = append(ours, v.Name)
		}
	}
	if !slices.Equal(ours, names) {
		return false
	}
	value, found := b.find(varSuccess, len(b.buf))
	start := value - len(varSuccess+"=")
	want := stateLines()
	if !found || start+len(want) > sectorSize {
		return false
	}
	have := b.buf[start : start+len(want)]
	for i := range want {
		isValue := want[i] != have[i]
		if isValue && (want[i] == '\n' || want[i] == '=' || have[i] == '\n' || have[i] == '\\') {
			return false
		}
	}
	return true
}

// makeRoom removes our variables wherever they are and puts them in where they
// belong.
func (b *Block) makeRoom() error {
	fresh := &Block{buf: bytes.Clone(b.buf)}
	for _, name := range stateVariables() {
		for _, has := fresh.Get(name); has; _, has = fresh.Get(name) {
			before := bytes.Clone(fresh.buf)
			fresh.Unset(name)
			if bytes.Equal(before, fresh.buf) {
				return damaged(name + " cannot be removed")
			}
		}
	}
	lines := stateLines()
	if tail := fresh.buf[len(fresh.buf)-len(lines):]; len(bytes.Trim(tail, "#")) != 0 {
		return fmt.Errorf("boot state: variables of others fill the block: %w", ErrNoSpace)
	}
	at := fresh.commentsEnd()
	if at+len(lines) > sectorSize {
		at = len(blockHeader)
	}
	buf := slices.Concat(fresh.buf[:at], lines, fresh.buf[at:len(fresh.buf)-len(lines)])
	b.buf = buf
	return nil
}

// commentsEnd returns the index behind the comment lines that follow the header.
// The padding is not a line: nothing ends it.
func (b *Block) commentsEnd() int {
	p := len(blockHeader)
	for p < len(b.buf) && b.buf[p] == '#' && b.skip(p) < len(b.buf) {
		p = b.nextLine(p)
	}
	return p
}
