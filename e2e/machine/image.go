package machine

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"unicode/utf16"
)

// Image is a disk image file as the host sees it, also while a machine runs
// from it: the host's page cache is what QEMU reads and writes. It shares no
// code with the programs under test.
type Image struct {
	Path string
}

// CopyTo makes a copy of the image, with its holes, and returns it.
func (i Image) CopyTo(path string) (Image, error) {
	return Image{Path: path}, copyFile(i.Path, path)
}

// extent is where a partition lies, in bytes.
type extent struct{ start, size int64 }

// partition finds a partition by its name in the GPT (UEFI specification,
// section 5.3; sectors of 512 bytes).
func (i Image) partition(name string) (extent, error) {
	f, err := os.Open(i.Path)
	if err != nil {
		return extent{}, err
	}
	defer f.Close()
	header := make([]byte, 512)
	if _, err := f.ReadAt(header, 512); err != nil {
		return extent{}, fmt.Errorf("the partition table of %s: %w", i.Path, err)
	}
	if string(header[:8]) != "EFI PART" {
		return extent{}, fmt.Errorf("%s has no GPT", i.Path)
	}
	le := binary.LittleEndian
	at, count, size := int64(le.Uint64(header[72:]))*512, int(le.Uint32(header[80:])), int(le.Uint32(header[84:]))
	table := make([]byte, count*size)
	if _, err := f.ReadAt(table, at); err != nil {
		return extent{}, fmt.Errorf("%s: partition table: %w", i.Path, err)
	}
	for n := range count {
		e := table[n*size:][:size]
		var units []uint16
		for k := 56; k < 128 && le.Uint16(e[k:]) != 0; k += 2 {
			units = append(units, le.Uint16(e[k:]))
		}
		if string(utf16.Decode(units)) == name {
			first, last := int64(le.Uint64(e[32:])), int64(le.Uint64(e[40:]))
			return extent{start: first * 512, size: (last - first + 1) * 512}, nil
		}
	}
	return extent{}, fmt.Errorf("%s has no partition %s", i.Path, name)
}

// Hash returns the SHA-256 of a partition, or of the whole disk for the name "".
func (i Image) Hash(name string) (string, error) {
	f, err := os.Open(i.Path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var r io.Reader = f
	if name != "" {
		e, err := i.partition(name)
		if err != nil {
			return "", err
		}
		r = io.NewSectionReader(f, e.start, e.size)
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", fmt.Errorf("%s: %w", i.Path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Env returns the environment block on the ESP.
func (i Image) Env() ([]byte, error) { return i.ReadESP("grub/grubenv") }

// ReadESP returns a file on the ESP.
func (i Image) ReadESP(name string) ([]byte, error) {
	e, err := i.partition("EFI")
	if err != nil {
		return nil, err
	}
	var stderr bytes.Buffer
	cmd := exec.Command("mtype", "-i", fmt.Sprintf("%s@@%d", i.Path, e.start), "::/"+name)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("mtype (of the package mtools): %w: %s", err, &stderr)
	}
	return out, nil
}

// WriteESP puts a file onto the ESP, replacing what is there. No machine may
// run from the image.
func (i Image) WriteESP(name string, data []byte) error {
	e, err := i.partition("EFI")
	if err != nil {
		return err
	}
	cmd := exec.Command("mcopy", "-o", "-i", fmt.Sprintf("%s@@%d", i.Path, e.start), "-", "::/"+name)
	cmd.Stdin = bytes.NewReader(data)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mcopy (of the package mtools): %w: %s", err, out)
	}
	return nil
}

// Spoil changes a bit wherever a partition holds content, as a drive does that
// forgets; blocks that are free by now may hold it too. No machine may run from the
// image.
func (i Image) Spoil(name string, content []byte) error {
	e, err := i.partition(name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(i.Path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	data := make([]byte, e.size)
	if _, err := f.ReadAt(data, e.start); err != nil {
		return fmt.Errorf("%s: %w", i.Path, err)
	}
	found := false
	for from := 0; ; found = true {
		at := bytes.Index(data[from:], content)
		if at < 0 {
			break
		}
		if _, err := f.WriteAt([]byte{content[0] ^ 1}, e.start+int64(from+at)); err != nil {
			return err
		}
		from += at + 1
	}
	if !found {
		return fmt.Errorf("%s does not hold these bytes in %s", i.Path, name)
	}
	return f.Close()
}

// EnvOffset returns where on the disk the environment block lies, in bytes: it
// is always rewritten in place.
func (i Image) EnvOffset() (int64, error) {
	block, err := i.Env()
	if err != nil {
		return 0, err
	}
	e, err := i.partition("EFI")
	if err != nil {
		return 0, err
	}
	f, err := os.Open(i.Path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	esp := make([]byte, e.size)
	if _, err := f.ReadAt(esp, e.start); err != nil {
		return 0, err
	}
	for at := 0; at+len(block) <= len(esp); at += 512 {
		if bytes.Equal(esp[at:at+len(block)], block) {
			return e.start + int64(at), nil
		}
	}
	return 0, fmt.Errorf("%s: the environment block is not in one piece", i.Path)
}
