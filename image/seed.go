package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// Seed ends the name of a file that is kept only to copy parts of it into a new
// one: an old release's file, or an unverified part that was of no other use.
// Nobody vouches for its content, and GRUB never looks at such a name.
const Seed = ".seed"

// Room is what the new files of a slot need: the size of each in bytes, and what
// is to be free beside them.
type Room struct {
	Files map[string]int64
	Slack int64
}

// ClaimKeeping is Claim that keeps the old files with the names of the new ones,
// and their unverified parts, as seeds (OpenSeeds), if there is room for both.
// Keep removes them in the end.
//
// It can be cut off at any moment. A name that is gone is written anew, a seed
// that is gone is a seed less, and until the new claim is there, no file that
// still has its final name is of another release than that of the old claim.
func (w *Writer) ClaimKeeping(id string, room Room) (resumed bool, err error) {
	if w.claimed(id) {
		return true, w.MakeRoom(room)
	}
	for name := range room.Files {
		if err := checkName(name); err != nil {
			return false, err
		}
	}
	if err := w.keepSeeds(room); err != nil {
		return false, err
	}
	if err := w.MakeRoom(room); err != nil {
		return false, err
	}
	return false, w.WriteFile(claimFile, []byte(id))
}

// keepSeeds removes what cannot be a seed, and then gives the others a seed's
// name.
func (w *Writer) keepSeeds(room Room) error {
	entries, err := fs.ReadDir(w.root.FS(), ".")
	if err != nil {
		return fmt.Errorf("list the slot: %w", err)
	}
	var old []string
	for _, e := range entries {
		name := e.Name()
		plain := strings.TrimSuffix(strings.TrimSuffix(name, Seed), Unverified)
		if _, wanted := room.Files[plain]; wanted && e.Type().IsRegular() {
			if !strings.HasSuffix(name, Seed) {
				old = append(old, name)
			}
			continue
		}
		if name == lostFound {
			continue
		}
		if err := w.root.RemoveAll(name); err != nil {
			return fmt.Errorf("remove an old file: %w", err)
		}
	}
	for _, name := range old {
		if err := w.makeSeed(name); err != nil {
			return err
		}
	}
	return nil
}

// makeSeed gives a file a seed's name, and what was reserved behind its end back.
func (w *Writer) makeSeed(name string) error {
	if err := w.root.Rename(name, name+Seed); err != nil {
		return fmt.Errorf("keep an old file: %w", err)
	}
	f, err := w.root.OpenFile(name+Seed, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("keep an old file: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err == nil {
		err = f.Truncate(st.Size())
	}
	return err
}

// MakeRoom removes the seeds unless the new files have room beside them. Seeds
// must not be open then.
func (w *Writer) MakeRoom(room Room) error {
	need := room.Slack
	for name, size := range room.Files {
		need += max(size-max(w.allocated(name), w.allocated(name+Unverified)), 0)
	}
	free, err := w.Free()
	if err != nil || free >= need {
		return err
	}
	return w.RemoveSeeds()
}

// allocated returns how many bytes of the device a file has.
func (w *Writer) allocated(name string) int64 {
	st, err := w.root.Lstat(name)
	if err != nil {
		return 0
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return sys.Blocks * 512
	}
	return st.Size()
}

// RemoveSeeds removes all seeds.
func (w *Writer) RemoveSeeds() error {
	entries, err := fs.ReadDir(w.root.FS(), ".")
	if err != nil {
		return fmt.Errorf("list the slot: %w", err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), Seed) {
			continue
		}
		if err := w.root.RemoveAll(e.Name()); err != nil {
			return fmt.Errorf("remove a seed: %w", err)
		}
	}
	return nil
}

// SetAside makes a seed of the unverified part of the file name, if there is one.
func (w *Writer) SetAside(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := w.forget(name); err != nil {
		return err
	}
	if err := w.makeSeed(name + Unverified); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// OpenSeeds opens the seeds for the file name, none to two, the old file first.
// The caller closes them.
func (w *Writer) OpenSeeds(name string) ([]*SeedFile, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	var seeds []*SeedFile
	for _, seed := range []string{name + Seed, name + Unverified + Seed} {
		f, err := openSeed(w.root, seed)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return seeds, err
		}
		seeds = append(seeds, f)
	}
	return seeds, nil
}

// WriteLater writes a small file on which nothing depends, such as what tells where
// parts of a seed lie. The device has it when WriteSlot returns, and maybe not before:
// after a power cut it may be there with any content.
func (w *Writer) WriteLater(name string, data []byte) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := w.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := w.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
