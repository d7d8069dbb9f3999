package grub

import (
	"fmt"
	"strconv"
	"strings"
)

// Names of the arguments that grub.cfg puts on the kernel command line.
const (
	argSlot    = "tufboot.slot="
	argBootID  = "tufboot.boot_id="
	argTry     = "tufboot.try="
	argESP     = "tufboot.esp="
	argCorrupt = "tufboot.corrupt="
)

// Booted is what GRUB told the kernel about this boot.
type Booted struct {
	// Slot is the booted slot; "" when GRUB did not boot by our grub.cfg. After a
	// fallback it differs from the active slot.
	Slot Slot
	// BootID is the token that GRUB read from the block; "" when it was none.
	BootID string
	// Try is 1..Attempts when this is a counted trial boot, else 0.
	Try int
	// ESP is the GPT partition UUID of the partition that GRUB was loaded from, in
	// lower case; "" if GRUB could not tell.
	ESP string
	// CorruptA and CorruptB: GRUB compared the slot with its SumsFile before this
	// boot, and they differ.
	CorruptA, CorruptB bool
}

// Corrupt reports whether GRUB found slot corrupt before this boot.
func (b Booted) Corrupt(slot Slot) bool {
	return slot == SlotA && b.CorruptA || slot == SlotB && b.CorruptB
}

// ParseKernelCmdline reads what grub.cfg put on the kernel command line
// (/proc/cmdline). Other arguments are ignored; where one of ours is there twice
// the first counts, since grub.cfg puts ours before the release's. Arguments
// behind "--" are not for us. An error means that ours make no sense.
func ParseKernelCmdline(cmdline string) (Booted, error) {
	var b Booted
	seen := make(map[string]bool)
	for field := range strings.FieldsSeq(cmdline) {
		if field == "--" {
			break
		}
		name, value, _ := strings.Cut(field, "=")
		name += "="
		if !strings.HasPrefix(name, "tufboot.") || seen[name] {
			continue
		}
		seen[name] = true
		if err := b.set(name, value); err != nil {
			return Booted{}, fmt.Errorf("kernel command line: %s%s: %w", name, value, err)
		}
	}
	return b, nil
}

func (b *Booted) set(name, value string) error {
	switch name {
	case argSlot:
		slot, err := ParseSlot(value)
		if err != nil {
			return err
		}
		b.Slot = slot
	case argBootID:
		if !bootIDForm.MatchString(value) {
			return fmt.Errorf("not 16 lower-case hex digits")
		}
		if value != noBootID {
			b.BootID = value
		}
	case argTry:
		try, err := strconv.Atoi(value)
		if err != nil || try < 0 || try > Attempts || strconv.Itoa(try) != value {
			return fmt.Errorf("not a number from 0 to %d", Attempts)
		}
		b.Try = try
	case argCorrupt:
		if value == "" || strings.Trim(value, "AB") != "" {
			return fmt.Errorf("not one or both of A and B")
		}
		b.CorruptA, b.CorruptB = strings.Contains(value, string(SlotA)), strings.Contains(value, string(SlotB))
	case argESP:
		if value != "none" { // what grub.cfg passes where probe fails
			b.ESP = strings.ToLower(value)
		}
	}
	return nil
}
