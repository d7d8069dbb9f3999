package initramfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func unpackBytes(data []byte) (*contents, error) {
	return unpack(context.Background(), bytes.NewReader(data), int64(len(data)), io.Discard, nil)
}

func names(c *contents) []string {
	var all []string
	for i := range c.entries {
		all = append(all, c.entries[i].Name)
	}
	return all
}

func TestUnpack(t *testing.T) {
	one, two := archive(file{name: "one", data: "1"}), archive(file{name: "two", data: "22"})
	early := archive(file{name: "kernel", mode: 0o040755}, file{name: "kernel/x86/microcode/GenuineIntel.bin", data: "microcode"})
	zeros := make([]byte, 512)
	noTrailer := one[:len(one)-124]
	sum := bytes.Replace(one, []byte("070701"), []byte("070702"), 1)
	copy(sum[102:], "00000031") // the sum of "1"
	for _, test := range []struct {
		name  string
		data  []byte
		want  []string
		early int
	}{
		{"one archive", one, []string{"one"}, 0},
		{"two archives", slices.Concat(one, two), []string{"one", "two"}, 0},
		{"zeros before, between and behind", slices.Concat(zeros, one, zeros, two, zeros), []string{"one", "two"}, 0},
		{"no trailer", noTrailer, []string{"one"}, 0},
		{"checksum", sum, []string{"one"}, 0},
		{"early archive", slices.Concat(early, zeros, one, two), []string{"one", "two"}, len(early) + len(zeros)},
		{"early archive last", slices.Concat(one, early), nil, len(one) + len(early)},
		{"only zeros", zeros, nil, 0},
		{"nothing", nil, nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := unpackBytes(test.data)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(names(c), test.want) || c.early != int64(test.early) {
				t.Errorf("%q, early %d; want %q, %d", names(c), c.early, test.want, test.early)
			}
		})
	}
}

func TestUnpackRefuses(t *testing.T) {
	one := archive(file{name: "one", data: "1"})
	put := func(at int, text string) []byte {
		data := bytes.Clone(one)
		copy(data[at:], text)
		return data
	}
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"old format of cpio":      {archive(file{name: "one", noMagic: true}), "newc"},
		"not hexadecimal":         {put(6, "0000000g"), "field 1"},
		"sign":                    {put(6, "-0000001"), "field 1"},
		"wrong sum":               {put(0, "070702"), "sum"},
		"no name":                 {archive(file{}), "a name of 1 bytes"},
		"name of no bytes":        {put(94, "00000000"), "a name of 0 bytes"},
		"name too long":           {archive(file{name: strings.Repeat("a", maxName)}), "a name of 4097 bytes"},
		"endless name":            {put(94, "ffffffff"), "a name of 4294967295 bytes"},
		"name without its end":    {put(94, "00000003"), "does not end"},
		"name that ends before":   {archive(file{name: "a\x00b"}), "does not end"},
		"folder with a content":   {archive(file{name: "a", mode: 0o040755, data: "x"}), "only files"},
		"empty symbolic link":     {archive(file{name: "a", mode: 0o120777}), "symbolic link"},
		"long symbolic link":      {archive(file{name: "a", mode: 0o120777, data: strings.Repeat("a", 4096)}), "symbolic link"},
		"unknown type":            {archive(file{name: "a", mode: 0o170000}), "type of file"},
		"trailer with a content":  {archive(file{name: trailer, data: "x"}), "trailer"},
		"ends in a header":        {one[:50], "within a header"},
		"ends in a name":          {one[:112], "within a header"},
		"ends in a content":       {one[:116], "within the content"},
		"ends in padding":         {one[:118], "within an entry"},
		"content beyond the end":  {put(54, "ffffffff"), "within the content"},
		"off its place":           {append([]byte{0, 0}, one...), "divisible by 4"},
		"something else":          {[]byte("hello"), "begins neither"},
		"something else behind":   {append(bytes.Clone(one), "hello"...), "begins neither"},
		"empty gzip":              {[]byte("\x1f\x8b"), "gzip"},
		"torn zstd":               {[]byte("\x28\xb5\x2f\xfd\x04"), "zstd"},
		"torn xz":                 {[]byte("\xfd7zXZ\x00"), "xz"},
		"lzma":                    {[]byte("\x5d\x00\x00\x00\x01"), "lzma"},
		"frame that is no legacy": {[]byte("\x04\x22\x4d\x18\x64\x40\xa7"), "lz4 -l"},
		"boot configuration":      {append(bytes.Clone(one), bootConfig...), "boot configuration"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := unpackBytes(test.data)
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v; want %q", err, test.want)
			}
		})
	}
}

// What is read is written, and read as the same again.
func FuzzUnpack(f *testing.F) {
	all := archive(tree()...)
	f.Add(all[:2000])
	f.Add(archive(file{name: "one", data: "1"}, file{name: "kernel/x86/microcode/x", data: "early"}))
	small := archive(file{name: "one", data: "1", links: 2}, file{name: "two", links: 2})
	f.Add(small)
	f.Add(slices.Concat(small, through(f, small, "", "zstd"), through(f, small, "", "gzip", "-n"), small))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, other := range formats() {
			if !other.bounded && bytes.Contains(data, []byte(other.magic)) {
				return // another's parser
			}
		}
		c, err := unpackBytes(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("the error does not wrap ErrFormat: %v", err)
			}
			return
		}
		renumber(c.entries)
		var again []byte
		for i := range c.entries {
			again = c.entries[i].append(again)
			again = append(again, make([]byte, padded(int64(c.entries[i].Size)))...)
		}
		d, err := unpackBytes(append(again, ending()...))
		if err != nil {
			t.Fatalf("what was read is not read again: %v", err)
		}
		if int64(len(data)) < d.early {
			t.Errorf("%d bytes of %d are early", d.early, len(data))
		}
	})
}
