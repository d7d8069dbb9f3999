package update

import (
	"testing"

	"tufboot/grub"
	"tufboot/metadata"
)

// FuzzCmdline shows that what can be published can be booted: every command
// line that a manifest may hold can be put into a slot.
func FuzzCmdline(f *testing.F) {
	for _, s := range []string{"", "quiet console=ttyS0", "a -- b", "/x*", "*", "(hd0)?", "x=*", "tufboot.slot=B", "$(x) ${y};|&", "a'b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if metadata.CheckCmdline(s) != nil {
			return
		}
		if _, err := grub.CmdlineConfig(s); err != nil {
			t.Errorf("%q can be published, but not written to a slot: %v", s, err)
		}
	})
}
