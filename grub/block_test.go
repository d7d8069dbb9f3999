package grub

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// editenv runs the real grub-editenv on a file with the given content. ok is
// false if it failed; out is what it printed.
func editenv(t *testing.T, content []byte, args ...string) (after []byte, out string, ok bool) {
	t.Helper()
	path, err := lookPath("grub-editenv")
	if err != nil {
		t.Fatal("grub-editenv is needed: install the Debian package grub-common")
	}
	file := filepath.Join(t.TempDir(), "grubenv")
	if content != nil {
		writeFile(t, file, content)
	}
	var stdout bytes.Buffer
	cmd := exec.Command(path, append([]string{file}, args...)...)
	cmd.Stdout = &stdout
	err = cmd.Run()
	after, readErr := os.ReadFile(file)
	if readErr != nil && err == nil {
		t.Fatal(readErr)
	}
	return after, stdout.String(), err == nil
}

// list prints a block's variables as "grub-editenv list" does.
func list(b *Block) string {
	var out strings.Builder
	for _, v := range b.Variables() {
		fmt.Fprintf(&out, "%s=%s\n", v.Name, v.Value)
	}
	return out.String()
}

// blockWith returns a block whose bytes behind the header start with text.
func blockWith(text string) []byte {
	data := NewBlock().Bytes()
	copy(data[len(blockHeader):], text)
	return data
}

func hostileBlocks() map[string][]byte {
	full := strings.Repeat("x", BlockSize-len(blockHeader)-len("a=\n"))
	return map[string][]byte{
		"blank":                 NewBlock().Bytes(),
		"ours":                  InitialBlock(SlotB),
		"comment":               blockWith("# WARNING: Do not edit\na=1\n"),
		"comment with =":        blockWith("# x=y\na=1\n# a=2\n"),
		"comment ends in \\":    blockWith("# oops \\\na=1\nb=2\n"),
		"twice":                 blockWith("a=1\na=2\n"),
		"no =":                  blockWith("junk\na=1\n"),
		"only =":                blockWith("=\n=x\n"),
		"empty value":           blockWith("a=\nb=\n"),
		"empty lines":           blockWith("\n\na=1\n\n"),
		"escapes":               blockWith("a=x\\\\y\\\nz\nb=2\n"),
		"escaped letter":        blockWith("a=\\x\\=\n"),
		"value holds =":         blockWith("a=b=c\n"),
		"value holds #":         blockWith("a=#\nb=##\n"),
		"no newline at the end": blockWith("a=1"),
		"full":                  blockWith("a=" + full + "\n"),
		"full, backslash last":  blockWith("a=" + full + "\\"),
		"full, one line":        blockWith("a=" + full + "x"),
		"text behind padding":   append(NewBlock().Bytes()[:BlockSize-6], "####a\n"...),
		"zeros":                 append([]byte(blockHeader), make([]byte, BlockSize-len(blockHeader))...),
		"zero byte in a value":  blockWith("a=1\x002\nb=3\n"),
		"zero byte in a name":   blockWith("a\x00b=1\n"),
		"prefix of a name":      blockWith("ab=1\na=2\n"),
		"high bytes":            blockWith("a=\xff\xfe\nb=\xc3\xa9\n"),
		"CR":                    blockWith("a=1\r\nb=2\r\n"),
	}
}

type edit struct{ name, value string }

func edits() []edit {
	return []edit{
		{"a", ""}, {"a", "1"}, {"a", "longer than before"}, {"b", `back\slash`}, {"new", "line\nbreak"},
		{"ab", "#"}, {"active_slot", "B"}, {"boot_id", strings.Repeat("f", 16)}, {"x", strings.Repeat("y", 700)},
		{"x", strings.Repeat(`\`, 600)}, {"with space", "a b"}, {"é", "ü"},
	}
}

// TestBlockAgreesWithGrubEditenv compares listing, setting and unsetting on many
// blocks with the real tool: the same text, the same bytes, the same refusals.
func TestBlockAgreesWithGrubEditenv(t *testing.T) {
	for name, data := range hostileBlocks() {
		t.Run(name, func(t *testing.T) {
			compareList(t, data)
			for _, e := range edits() {
				compareSet(t, data, e)
				compareUnset(t, data, e.name)
			}
		})
	}
}

func compareList(t *testing.T, data []byte) {
	t.Helper()
	b := mustParse(t, data)
	if _, out, ok := editenv(t, data, "list"); !ok || out != list(b) {
		t.Errorf("list:\ngrub-editenv: %q\nours:         %q", out, list(b))
	}
}

func compareSet(t *testing.T, data []byte, e edit) {
	t.Helper()
	b := mustParse(t, data)
	err := b.Set(e.name, e.value)
	after, _, ok := editenv(t, data, "set", e.name+"="+e.value)
	if ok != (err == nil) {
		t.Errorf("set %.20q=%.20q: grub-editenv ok=%v, ours: %v", e.name, e.value, ok, err)
		return
	}
	if !bytes.Equal(after, b.Bytes()) {
		t.Errorf("set %.20q=%.20q:\ngrub-editenv: %q\nours:         %q", e.name, e.value, after, b.Bytes())
	}
}

func compareUnset(t *testing.T, data []byte, name string) {
	t.Helper()
	b := mustParse(t, data)
	b.Unset(name)
	if after, _, ok := editenv(t, data, "unset", name); !ok || !bytes.Equal(after, b.Bytes()) {
		t.Errorf("unset %q:\ngrub-editenv: %q\nours:         %q", name, after, b.Bytes())
	}
}

func mustParse(t *testing.T, data []byte) *Block {
	t.Helper()
	b, err := ParseBlock(data)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzBlockAgainstGrubEditenv lets the fuzzer look for a block and an edit on
// which the codec and the real grub-editenv differ.
func FuzzBlockAgainstGrubEditenv(f *testing.F) {
	for _, data := range hostileBlocks() {
		for _, e := range edits() {
			f.Add(data[len(blockHeader):], e.name, e.value)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, name, value string) {
		if strings.Contains(name+value, "\x00") || checkVariable(name, value) != nil || strings.HasPrefix(name, "-") {
			return // not an argument of grub-editenv, or not a name
		}
		data := NewBlock().Bytes()
		copy(data[len(blockHeader):], body)
		compareList(t, data)
		compareSet(t, data, edit{name, value})
		compareUnset(t, data, name)
	})
}

func TestBlockRoundTrip(t *testing.T) {
	b := NewBlock()
	for _, e := range edits() {
		if err := b.Set(e.name, e.value); err != nil && !errors.Is(err, ErrNoSpace) {
			t.Fatal(err)
		} else if got, ok := b.Get(e.name); err == nil && (!ok || got != e.value) {
			t.Errorf("Get(%q) = %q, %v, want %q", e.name, got, ok, e.value)
		}
	}
}

func TestSetRefusesWhatGRUBWouldMisread(t *testing.T) {
	for _, e := range []edit{{"", "x"}, {"a=b", "x"}, {"#a", "x"}, {"a\nb", "x"}, {`a\`, "x"}, {"a", "x\x00y"}} {
		b := NewBlock()
		if err := b.Set(e.name, e.value); err == nil {
			t.Errorf("Set(%q, %q) did not fail", e.name, e.value)
		}
		if !bytes.Equal(b.Bytes(), NewBlock().Bytes()) {
			t.Errorf("Set(%q, %q) changed the block", e.name, e.value)
		}
	}
}

func TestParseBlockSaysWhatIsWrong(t *testing.T) {
	good := InitialBlock(SlotA)
	for want, data := range map[string][]byte{
		"empty":      {},
		"zero bytes": make([]byte, BlockSize),
		"CR LF":      bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")),
		"header":     append([]byte("# GRUB environment Block\n"), good[len(blockHeader):]...),
		"512 bytes":  good[:512],
		"1025 bytes": append(bytes.Clone(good), '#'),
	} {
		_, err := ParseBlock(data)
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
