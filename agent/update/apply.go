package update

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"tufboot/grub"
	"tufboot/image"
	"tufboot/metadata"
	"tufboot/metadata/client"
)

// slotSlack is kept free in a slot for the small files and the file system's
// own growth, in bytes.
const slotSlack = 1 << 20

// Apply writes the wanted release into the inactive slot and verifies it there
// (steps 1 to 4 of the package comment). Where an earlier Apply was cut off, it
// goes on from what that one left.
func (n *Node) Apply(ctx context.Context, want string) (Plan, error) {
	s, f, situation, err := n.settle(ctx)
	if err != nil {
		return Plan{Situation: situation}, err
	}
	p, err := n.plan(ctx, s, f, situation, want)
	n.note(&s, p, err)
	if want == "" && p.Release != "" && s.Staged != nil && s.Staged.Release != p.Release {
		s.Staged = nil // the channel has moved on from what waits to be activated
	}
	if err != nil || !p.Install {
		return p, errors.Join(err, s.Save(n.StateDir))
	}
	s.Staged = nil
	if err := s.Save(n.StateDir); err != nil {
		return p, err
	}
	p.Transfer = new(client.Usage)
	if err = n.ensure(ctx, f, &p); err == nil {
		n.Logger.Info("the slot holds the release", "slot", p.Slot, "release", p.Version,
			"fetched", p.Transfer.Fetched, "reused", p.Transfer.Reused, "requests", p.Transfer.Requests)
		s.Staged = &Staged{Slot: p.Slot, Release: p.Release, Version: p.Version}
	}
	n.note(&s, p, err)
	return p, errors.Join(err, s.Save(n.StateDir))
}

// note records the outcome of a check in the state. It does not write.
func (n *Node) note(s *State, p Plan, err error) {
	s.LastCheck = &LastCheck{
		At: n.Now().UTC(), Reason: "done", Version: p.Version, Final: p.Final, Turn: p.Turn, Window: p.Window,
	}
	if err != nil {
		s.LastCheck.Reason, s.LastCheck.Text = cmp.Or(reasonOf(err), "error"), err.Error()
	}
}

// ensure brings the slot to hold the release, whole and read back.
func (n *Node) ensure(ctx context.Context, f Facts, p *Plan) error {
	to, err := n.prepare(ctx, f, p)
	p.Remade = "" // so far
	if err != nil {
		return err
	}
	// From here on the slot must be nobody's fallback, even if the block is lost.
	if err := n.refreshLastGood(p.Slot.Other()); err != nil {
		return err
	}
	if p.Held {
		n.Logger.Info("the slot holds the release already", "slot", p.Slot)
		return nil
	}
	files, err := withSums(to.files)
	if err != nil {
		return err
	}
	return n.write(ctx, p, to.part, files)
}

// write makes the slot unbootable, fills it and reads it back.
func (n *Node) write(ctx context.Context, p *Plan, part image.Partition, files []slotFile) error {
	err := n.changeBlock(fmt.Sprintf("mark slot %s as being written", p.Slot), func(s grub.State) (grub.State, error) {
		return s.Invalidate(p.Slot)
	})
	if err != nil {
		return err
	}
	defer n.planDelta(*p, files)()
	var there []slotFile
	var readings map[string]image.Reading
	err = n.remaking(p, part, func() error {
		return image.WriteSlot(part, func(w *image.Writer) (err error) {
			there, err = n.fill(ctx, w, p.Release, files)
			readings = w.Readings()
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("write release %s into slot %s (%s): %w", p.Version, p.Slot, part.Device, err)
	}
	n.Logger.Info("read the slot back", "slot", p.Slot, "device", part.Device)
	return readBack(ctx, part, there, readings)
}

// slotFile is one file of a slot: its digest, and either an artifact to fetch
// or the bytes themselves.
type slotFile struct {
	name     string
	sha256   string // "": any content will do
	artifact *metadata.Artifact
	delta    *delta // of what the artifact can be put together
	data     []byte
}

// slotFiles lists what a slot holds for a release, in the order of writing: the
// manifest comes last, so that a slot that has it has everything else.
func slotFiles(r *client.Resolved) ([]slotFile, error) {
	cmdline, err := grub.CmdlineConfig(r.Release.Cmdline)
	if err != nil {
		return nil, err
	}
	kernel, initramfs := &r.Release.Kernel, &r.Release.Initramfs
	return []slotFile{
		{name: metadata.KernelFile, sha256: kernel.SHA256, artifact: kernel},
		{name: metadata.InitramfsFile, sha256: initramfs.SHA256, artifact: initramfs},
		small(grub.CmdlineFile, cmdline),
		small(metadata.ManifestFile, r.Manifest),
	}, nil
}

// withSums adds the list that GRUB checks a slot by. It is no part of the release: a
// slot without it is whole.
func withSums(files []slotFile) ([]slotFile, error) {
	var sums []grub.FileSum
	for _, f := range files {
		sums = append(sums, grub.FileSum{Name: f.name, SHA256: f.sha256})
	}
	list, err := grub.Sums(sums...)
	if err != nil {
		return nil, err
	}
	last := len(files) - 1 // the manifest
	// Not slices.Insert: its type parameter has the linker keep every method of what a
	// slotFile can reach, 30 KB in all.
	return append(files[:last:last], small(grub.SumsFile, list), files[last]), nil
}

func small(name string, data []byte) slotFile {
	sum := sha256.Sum256(data)
	return slotFile{name: name, sha256: hex.EncodeToString(sum[:]), data: data}
}

// fill brings the mounted slot to hold exactly the given files of release id and
// their chunk maps, and returns all of them. What an interrupted run for the same
// release left is gone on with.
func (n *Node) fill(ctx context.Context, w *image.Writer, id metadata.ID, files []slotFile) (there []slotFile, err error) {
	resumed, err := claim(w, id, files)
	if err != nil {
		return nil, err
	}
	if !resumed {
		if err := checkSpace(w, files); err != nil {
			return nil, err
		}
	}
	var names []string
	for _, file := range files {
		if err := n.bring(ctx, w, file); err != nil {
			return nil, err
		}
		there, names = append(there, file), append(names, file.name)
		if beside, kept, err := n.keepMap(ctx, w, file); err != nil {
			return nil, err
		} else if kept {
			there, names = append(there, beside), append(names, beside.name)
		}
	}
	return there, w.Keep(names...)
}

// bring brings one file into the slot, unless it is there.
func (n *Node) bring(ctx context.Context, w *image.Writer, file slotFile) error {
	if held, err := n.holds(ctx, w, file); held || err != nil {
		return err
	}
	if err := n.place(ctx, w, file); err != nil {
		return fmt.Errorf("%s: %w", file.name, err)
	}
	return nil
}

// checkSpace refuses a release that the emptied slot cannot hold before
// anything is fetched.
func checkSpace(w *image.Writer, files []slotFile) error {
	need := int64(slotSlack)
	for _, file := range files {
		if file.artifact != nil {
			need += file.artifact.Length
		}
	}
	free, err := w.Free()
	if err != nil {
		return err
	}
	if free < need {
		return tooLarge(free, need)
	}
	return nil
}

func tooLarge(room, need int64) error {
	return refuse(ReasonNoSpace, "publish a smaller release, or build the disk image with larger slots",
		"the slot has room for %d bytes, and the release needs %d", room, need)
}

// holds reports whether the slot has the file, whole and right.
func (n *Node) holds(ctx context.Context, w *image.Writer, file slotFile) (bool, error) {
	f, err := w.Open(file.name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if file.artifact != nil {
		if info, err := f.Stat(); err != nil || info.Size() != file.artifact.Length {
			return false, err
		}
	}
	sum, err := digest(ctx, f)
	if err != nil && ctx.Err() == nil {
		n.Logger.Warn("a file that an earlier run left cannot be read; fetching it anew", "file", file.name, "error", err)
		return false, nil
	}
	return sum == file.sha256, err
}

// place puts one missing file into the slot under its final name.
func (n *Node) place(ctx context.Context, w *image.Writer, file slotFile) error {
	if file.artifact == nil {
		return w.WriteFile(file.name, file.data)
	}
	for {
		held, err := n.fetch(ctx, w, file)
		var wrong *client.VerificationError
		if errors.As(err, &wrong) {
			again, derr := startOver(w, file, held, err)
			if again && derr == nil {
				n.Logger.Warn("what was there of the file is of no use; starting over", "file", file.name, "error", err)
				continue
			}
			err = errors.Join(err, derr)
		}
		if err != nil {
			return err
		}
		return w.Commit(file.name)
	}
}

// fetch completes the unverified part of a file to the artifact's bytes,
// verified on the way, and returns how many bytes of it there were before.
func (n *Node) fetch(ctx context.Context, w *image.Writer, file slotFile) (held int64, err error) {
	a := *file.artifact
	s, err := w.Stream(file.name, a.Length)
	if err != nil {
		return 0, err
	}
	// Also after a failure: the next run goes on from what the device has.
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Held().Size(), n.download(ctx, w, file, s.Held(), s)
}

// readBack compares what the device holds with what was asked for. readings is
// what was read back while the slot was written; whatever it does not prove is
// read now.
func readBack(ctx context.Context, part image.Partition, files []slotFile, readings map[string]image.Reading) error {
	return image.ReadBack(part, func(open func(string) (*image.SlotFile, error)) error {
		for _, file := range files {
			if err := compare(ctx, open, file, readings[file.name]); err != nil {
				return &SlotError{Device: part.Device, File: file.name, Err: err}
			}
		}
		return nil
	})
}

// errDiffers says that a file of a slot has another content than it should.
var errDiffers = errors.New("the content differs")

func compare(ctx context.Context, open func(string) (*image.SlotFile, error), file slotFile, seen image.Reading) error {
	r, err := open(file.name)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	if file.sha256 != "" && seen.SHA256 == file.sha256 && r.Consists(seen) {
		return nil
	}
	sum, err := digest(ctx, r)
	if err != nil {
		return err
	}
	if sum != file.sha256 && file.sha256 != "" {
		return fmt.Errorf("SHA-256 is %s, not %s: %w", sum, file.sha256, errDiffers)
	}
	return nil
}

// digest returns the SHA-256 of what r holds, in hex. It stops when ctx ends.
func digest(ctx context.Context, r io.Reader) (string, error) {
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		k, err := r.Read(buf)
		h.Write(buf[:k])
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}
