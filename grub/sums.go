package grub

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// FileSum is a file of a slot and its SHA-256, in hex.
type FileSum struct{ Name, SHA256 string }

// Sums returns the content of a slot's SumsFile, which GRUB's hashsum --check and
// sha256sum -c both read: what the slot must hold, so that GRUB can see before it
// boots the slot whether it still does. It protects from storage that loses bits
// and from nothing else: who can write to the slot can write the list too.
//
// A slot without the file is not checked. An error names a file whose sum or name
// is none that GRUB could read (grub-core/commands/hashsum.c, check_list).
func Sums(files ...FileSum) ([]byte, error) {
	var out strings.Builder
	for _, f := range files {
		sum, err := hex.DecodeString(f.SHA256)
		if err != nil || len(sum) != 32 {
			return nil, fmt.Errorf("%s: %q is no SHA-256", f.Name, f.SHA256)
		}
		if f.Name == "" || strings.ContainsAny(f.Name, "/\\\n\r\x00") {
			return nil, fmt.Errorf("%s: %q cannot name a file", SumsFile, f.Name)
		}
		fmt.Fprintf(&out, "%x  %s\n", sum, f.Name)
	}
	return []byte(out.String()), nil
}
