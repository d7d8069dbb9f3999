package grub

import (
	"strings"
	"testing"
)

func TestParseKernelCmdline(t *testing.T) {
	const ours = "tufboot.slot=B tufboot.boot_id=feedfacecafebeef tufboot.try=2 tufboot.esp=B49B6CCC-85DA-F044-9DAF-9F1A56390E09"
	full := Booted{Slot: SlotB, BootID: trialID, Try: 2, ESP: espUUID}
	for in, want := range map[string]Booted{
		"": {},
		"BOOT_IMAGE=/vmlinuz root=/dev/sda1 quiet":                         {},
		"BOOT_IMAGE=(hd0,gpt3)/vmlinuz " + ours + " panic=10 quiet\n":      full,
		ours + " tufboot.slot=A tufboot.try=0 tufboot.boot_id=" + noBootID: full,
		"tufboot.slot=A tufboot.boot_id=" + noBootID + " tufboot.try=0":    {Slot: SlotA},
		"-- tufboot.slot=A":                 {},
		"tufboot.slot=A tufboot.esp=none":   {Slot: SlotA},
		"tufboot.shell=1 tufboot.later=x":   {},
		"xtufboot.slot=A tufboot_slot=A":    {},
		"tufboot.slot=A tufboot.corrupt=B":  {Slot: SlotA, CorruptB: true},
		"tufboot.slot=A tufboot.corrupt=BA": {Slot: SlotA, CorruptA: true, CorruptB: true},
	} {
		if got, err := ParseKernelCmdline(in); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{
		"tufboot.slot=C", "tufboot.slot", "tufboot.slot=", "tufboot.try=4", "tufboot.try=-1", "tufboot.try=", "tufboot.try=+1",
		"tufboot.try=02", "tufboot.boot_id=", "tufboot.boot_id=FEEDFACECAFEBEEF", "tufboot.boot_id=1",
		"tufboot.corrupt=", "tufboot.corrupt=C", "tufboot.corrupt=A,B",
	} {
		if got, err := ParseKernelCmdline(in); err == nil {
			t.Errorf("%q: %+v", in, got)
		}
	}
}

// FuzzParseKernelCmdline: what is accepted is sensible, and says the same again.
func FuzzParseKernelCmdline(f *testing.F) {
	f.Add("tufboot.slot=B tufboot.boot_id=feedfacecafebeef tufboot.try=2 tufboot.esp=x quiet")
	f.Add("tufboot.slot=A -- tufboot.slot=B")
	f.Add("tufboot.try=1 tufboot.try")
	f.Fuzz(func(t *testing.T, cmdline string) {
		b, err := ParseKernelCmdline(cmdline)
		if err != nil {
			if b != (Booted{}) {
				t.Errorf("%+v with error %v", b, err)
			}
			return
		}
		if b.Try < 0 || b.Try > Attempts || b.Slot != "" && b.Slot.Other() == "" {
			t.Errorf("%q: %+v", cmdline, b)
		}
		if !strings.Contains(cmdline, "tufboot.") && b != (Booted{}) {
			t.Errorf("%q: %+v", cmdline, b)
		}
	})
}
