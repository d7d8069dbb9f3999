//go:build linux && amd64

package kill

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tufboot/grub"
	"tufboot/image"
)

// snapshot is all that a node is between two runs.
type snapshot struct {
	disk  []byte
	files tree // of the folder run
}

// snapshot takes one.
func (n *node) snapshot() (*snapshot, error) {
	st, err := n.file.Stat()
	if err != nil {
		return nil, err
	}
	s := &snapshot{disk: make([]byte, st.Size())}
	if _, err := n.file.ReadAt(s.disk, 0); err != nil {
		return nil, err
	}
	s.files, err = takeTree(filepath.Join(n.dir, "run"))
	return s, err
}

// restore makes the node what it was.
func (n *node) restore(s *snapshot) error {
	const unit = 64 << 10
	if n.mark == nil {
		n.mark = make([]byte, unit)
	}
	for at := 0; at < len(s.disk); at += unit {
		want := s.disk[at:min(at+unit, len(s.disk))]
		have := n.mark[:len(want)]
		if _, err := n.file.ReadAt(have, int64(at)); err != nil {
			return err
		}
		if bytes.Equal(have, want) {
			continue
		}
		if _, err := n.file.WriteAt(want, int64(at)); err != nil {
			return err
		}
	}
	for _, p := range n.partitions() {
		if err := dropCache(p.Device); err != nil {
			return err
		}
	}
	return s.files.restore(filepath.Join(n.dir, "run"))
}

func (n *node) partitions() []image.Partition {
	return []image.Partition{n.disk.EFI, n.disk.SystemA, n.disk.SystemB, n.disk.Data}
}

func dropCache(device string) error {
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0)
}

// withBlock calls fn with the environment block on the ESP.
func (n *node) withBlock(readOnly bool, fn func(grub.Env) error) (err error) {
	esp, err := image.OpenESP(n.disk, readOnly)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, esp.Close()) }()
	return fn(grub.Env{Path: esp.Path("grub/" + grub.EnvFile), LastGood: esp.Path("grub/" + grub.LastGoodFile)})
}

// boots are the two blocks, by which GRUB decides.
type boots struct {
	grub.State
	lastGood grub.Slot
}

func (n *node) boots() (b boots, err error) {
	err = n.withBlock(true, func(e grub.Env) (err error) {
		if b.State, err = e.Read(); err != nil {
			return err
		}
		b.lastGood, err = e.ReadLastGood()
		return err
	})
	return b, err
}

// boot says how the machine was booted from now on.
func (n *node) boot(o grub.Outcome) error {
	id := o.BootID
	if id == "" {
		id = "0000000000000000"
	}
	line := fmt.Sprintf("tufboot.slot=%s tufboot.boot_id=%s tufboot.try=%d panic=10\n", o.Slot, id, o.Try)
	var before, after string
	if old, err := os.ReadFile(n.run("boot_id")); err == nil {
		before = string(old)
	}
	after = before + "+" // another one than the last
	return errors.Join(os.MkdirAll(filepath.Join(n.dir, "run"), 0o700),
		os.WriteFile(n.run("cmdline"), []byte(line), 0o600), os.WriteFile(n.run("boot_id"), []byte(after), 0o600))
}

// reboot plays GRUB: it makes the transition of the next boot in the block.
func (n *node) reboot() (o grub.Outcome, err error) {
	err = n.withBlock(false, func(e grub.Env) error {
		good, err := e.ReadLastGood()
		if err != nil {
			return err
		}
		_, err = e.Update(func(s grub.State) (next grub.State, err error) {
			next, o = s.Boot(grub.Facts{LastGood: good})
			return next, nil
		})
		return err
	})
	if err != nil {
		return o, err
	}
	// What lies below /run on a real node does not outlive a reboot.
	for _, name := range []string{sentinel, "rebooted"} {
		if err := os.Remove(n.run(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return o, err
		}
	}
	return o, n.boot(o)
}
