//go:build linux && amd64

package kill

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tufboot/grub"
	"tufboot/image"
	"tufboot/internal/atomicfile"
	"tufboot/metadata"
)

// content is what GRUB finds in a slot.
type content struct {
	files map[string]string // digests, by name
	says  string            // the version of the release whose manifest is there; "" if it is that of none
	whole string            // the version of the release of which every file is there; "" if none
}

// look reads a slot as GRUB does, without its journal. A slot without a file system
// holds nothing.
func (n *node) look(slot grub.Slot) (c content, err error) {
	c.files = map[string]string{}
	p := n.disk.Slot(slot)
	if err := dropCache(p.Device); err != nil {
		return c, err
	}
	m, err := mountToLook(p)
	if err != nil {
		return c, nil //nolint:nilerr // GRUB would find nothing either
	}
	defer func() { err = errors.Join(err, unix.Close(m)) }()
	root := os.DirFS(fmt.Sprintf("/proc/self/fd/%d", m))
	entries, err := fs.ReadDir(root, ".")
	if err != nil {
		return c, err
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		data, err := fs.ReadFile(root, e.Name())
		if err != nil {
			return c, err
		}
		c.files[e.Name()] = sum(data)
	}
	for version, want := range n.releases {
		if c.files[metadata.ManifestFile] == want[metadata.ManifestFile] {
			c.says = version
			if matches(c.files, want) {
				c.whole = version
			}
		}
	}
	return c, nil
}

func matches(have, want map[string]string) bool {
	for name, sum := range want {
		if have[name] != sum {
			return false
		}
	}
	return true
}

// mountToLook mounts a slot where nobody comes across it.
func mountToLook(p image.Partition) (fd int, err error) {
	fsfd, err := unix.Fsopen("ext4", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer func() { err = errors.Join(err, unix.Close(fsfd)) }()
	if err := errors.Join(unix.FsconfigSetString(fsfd, "source", p.Device), unix.FsconfigSetFlag(fsfd, "ro"), unix.FsconfigSetFlag(fsfd, "noload")); err != nil {
		return -1, err
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		return -1, err
	}
	return unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY)
}

// slots reads both slots.
func (n *node) slots() (map[grub.Slot]content, error) {
	a, err := n.look(grub.SlotA)
	if err != nil {
		return nil, err
	}
	b, err := n.look(grub.SlotB)
	return map[grub.Slot]content{grub.SlotA: a, grub.SlotB: b}, err
}

// ending describes the node in lines that are the same whenever nothing that matters
// differs: no times, no random tokens, nothing of the last check but what it led to.
func (n *node) ending() ([]string, error) {
	b, err := n.boots()
	if err != nil {
		return nil, err
	}
	lines := []string{fmt.Sprintf("block %+v", anonymous(b.State)), "last-good " + string(b.lastGood)}
	slots, err := n.slots()
	if err != nil {
		return nil, err
	}
	for slot, c := range slots {
		for name, sum := range c.files {
			lines = append(lines, fmt.Sprintf("slot %s %s %s", slot, name, sum))
		}
	}
	s, err := n.snapshot()
	if err != nil {
		return nil, err
	}
	for name, k := range s.files {
		line := fmt.Sprintf("file %s %s", k.mode, name)
		switch base := filepath.Base(name); {
		case base == "state.json":
			text, err := remembered(k.data)
			if err != nil {
				return nil, err
			}
			line += " " + text
		case base == name && strings.HasPrefix(name, atomicfile.TempPrefix):
			continue // beside the sentinel: the reboot that it asks for empties that folder
		case base != "clock.json" && name != sentinel: // one says when, one why
			line += " " + sum(k.data)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines, nil
}

// anonymous replaces the random token of a trial.
func anonymous(s grub.State) grub.State {
	if s.BootID != "" {
		s.BootID = "some"
	}
	return s
}

// remembered returns what of state.json does not change from run to run.
func remembered(data []byte) (string, error) {
	var s map[string]any
	if err := json.Unmarshal(data, &s); err != nil {
		return "", err
	}
	delete(s, "last_check")
	if t, ok := s["trial"].(map[string]any); ok {
		delete(t, "boot_id")
		if t["unhealthy"] != nil {
			t["unhealthy"] = "for some reason" // how it is said depends on the time that it took
		}
	}
	if list, ok := s["failed"].([]any); ok {
		for _, f := range list {
			if f, ok := f.(map[string]any); ok {
				delete(f, "at")
			}
		}
	}
	text, err := json.Marshal(s)
	return string(text), err
}

// differ says in what two endings differ; "" if in nothing.
func differ(have, want []string) string {
	count := map[string]int{}
	for _, l := range have {
		count[l]++
	}
	for _, l := range want {
		count[l]--
	}
	var out strings.Builder
	for _, l := range slices.Sorted(maps.Keys(count)) {
		switch {
		case count[l] > 0:
			fmt.Fprintf(&out, "\n\tonly here: %s", l)
		case count[l] < 0:
			fmt.Fprintf(&out, "\n\tmissing: %s", l)
		}
	}
	return out.String()
}
