package grub

import (
	"encoding/hex"
	"strings"
	"testing"
)

// FuzzSums lists any file: what is written names it to who reads it as GRUB does
// (grub-core/commands/hashsum.c, check_list), or it is refused.
func FuzzSums(f *testing.F) {
	const sum = "1f3a0b0c7de0f3f2a0a54be6a5b9d2fb3cb1ff2bd4c4e3f0f5a6b7c8d9e0f1a2"
	for _, name := range []string{"vmlinuz", " a", "", "../x", "a\nb", "a\x00b", "a\r", "*x", "#x"} {
		f.Add(name, sum)
	}
	f.Add("vmlinuz", strings.ToUpper(sum))
	f.Add("vmlinuz", sum+"00")
	f.Fuzz(func(t *testing.T, name, sum string) {
		list, err := Sums(FileSum{Name: name, SHA256: sum}, FileSum{Name: "last", SHA256: strings.Repeat("0", 64)})
		if err != nil {
			return
		}
		lines := strings.Split(string(list), "\n")
		if len(lines) != 3 || lines[2] != "" {
			t.Fatalf("lines %q", lines)
		}
		digits, rest := lines[0][:64], lines[0][64:]
		digest, err := hex.DecodeString(digits)
		if err != nil || hex.EncodeToString(digest) != strings.ToLower(sum) || rest[:2] != "  " {
			t.Errorf("%v: %q", err, lines[0])
		}
		file, _, _ := strings.Cut(rest[2:], "\x00") // C ends a string there
		if strings.TrimRight(file, "\r") != name {
			t.Errorf("%q is read as %q", name, file)
		}
	})
}
