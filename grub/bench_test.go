package grub_test

import (
	"testing"

	"tufboot/grub"
)

// BenchmarkBlockRead reads an environment block and what it says of the boot.
func BenchmarkBlockRead(b *testing.B) {
	data := grub.InitialBlock(grub.SlotA)
	b.ReportAllocs()
	for b.Loop() {
		block, err := grub.ParseBlock(data)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := grub.Decode(block); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBlockWrite changes a block from committed to armed.
func BenchmarkBlockWrite(b *testing.B) {
	data := grub.InitialBlock(grub.SlotA)
	armed := grub.State{Active: grub.SlotB, Counter: grub.Attempts, AOK: true, BOK: true, BootID: "0123456789abcdef"}
	b.ReportAllocs()
	for b.Loop() {
		block, err := grub.ParseBlock(data)
		if err != nil {
			b.Fatal(err)
		}
		if err := grub.Encode(block, armed); err != nil {
			b.Fatal(err)
		}
		block.Bytes()
	}
}

// BenchmarkUpdateCycle takes the boot state through an update: invalidate, arm,
// GRUB's trial boot, mark good.
func BenchmarkUpdateCycle(b *testing.B) {
	start := grub.State{Active: grub.SlotA, Success: true, AOK: true, BOK: true}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cycle(start); err != nil {
			b.Fatal(err)
		}
	}
}

func cycle(s grub.State) (_ grub.State, err error) {
	if s, err = s.Invalidate(grub.SlotB); err != nil {
		return s, err
	}
	if s, err = s.Arm(grub.SlotB, "0123456789abcdef"); err != nil {
		return s, err
	}
	s, _ = s.Boot(grub.Facts{})
	return s.MarkGood()
}
