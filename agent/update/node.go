package update

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"tufboot/grub"
	"tufboot/image"
	"tufboot/metadata/client"
)

// Options describe a node.
type Options struct {
	StateDir string         // the agent's folder on DATA
	Disk     *image.Disk    // the boot disk
	Grubenv  string         // path of the environment block; "": grub/grubenv on the ESP
	Booted   grub.Booted    // what GRUB passed to the kernel, or what the operator said
	Rescue   bool           // neither slot is running (provisioning, rescue system)
	KernelID string         // the kernel's random boot id, new at every boot
	Client   *client.Client // nil for verbs that need no repository
	Channel  string
	Arch     string // as in the channel file: amd64, arm64, ...
	Policy   Policy
	NoDelta  bool // fetch every release whole, whatever the slots hold
	// Progress is told how far the transfer of one file is, in bytes. It may be nil.
	Progress func(file string, done, total int64)
	Now      func() time.Time // nil: time.Now
	Logger   *slog.Logger     // nil: no log
}

// Node is one machine that is kept up to date. Its methods are safe against
// other processes (they take the lock), not against concurrent use.
type Node struct {
	Options
	dry *dryRun // nil: what the node does, it does
}

// New returns the node that opts describe. It touches nothing.
func New(opts Options) *Node {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Progress == nil {
		opts.Progress = func(string, int64, int64) {}
	}
	return &Node{Options: opts}
}

// espFolder is the folder on the ESP that holds grub.cfg and the block.
const espFolder = "grub"

// withBlock calls fn with the environment block and last-good, on the ESP as it
// is mounted, or mounted privately for the time of the call.
func (n *Node) withBlock(readOnly bool, fn func(grub.Env) error) (err error) {
	if n.Grubenv != "" {
		return fn(grub.Env{Path: n.Grubenv, LastGood: filepath.Join(filepath.Dir(n.Grubenv), grub.LastGoodFile)})
	}
	esp, err := image.OpenESP(n.Disk, readOnly)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, esp.Close()) }()
	return fn(grub.Env{Path: esp.Path(espFolder + "/" + grub.EnvFile), LastGood: esp.Path(espFolder + "/" + grub.LastGoodFile)})
}

// writable returns what would keep the environment block from being written, as far
// as that can be told without writing.
func (n *Node) writable() error {
	if n.Grubenv == "" {
		return image.CheckESP(n.Disk)
	}
	err := unix.Access(n.Grubenv, unix.W_OK)
	if errors.Is(err, fs.ErrNotExist) {
		err = unix.Access(filepath.Dir(n.Grubenv), unix.W_OK)
	}
	if errors.Is(err, unix.EROFS) {
		return &image.RefusedError{
			Reason: image.ReasonESPReadOnly, Advice: "mount its file system for writing",
			Err: fmt.Errorf("the environment block %s: %w", n.Grubenv, err),
		}
	}
	if err != nil {
		return fmt.Errorf("the environment block %s: %w", n.Grubenv, err)
	}
	return nil
}

// changeBlock makes one transition in the environment block.
func (n *Node) changeBlock(what string, transition func(grub.State) (grub.State, error)) error {
	if n.dry != nil {
		f, err := n.facts(State{})
		if err == nil {
			f.Block, err = transition(f.Block)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		n.dry.change(what, f.Block)
		return nil
	}
	err := n.withBlock(false, func(e grub.Env) error {
		after, err := e.Update(transition)
		if err == nil {
			n.Logger.Info(what, "active_slot", after.Active, "boot_success", after.Success, "boot_counter", after.Counter, "A_ok", after.AOK, "B_ok", after.BOK)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// facts reads where the node stands.
func (n *Node) facts(s State) (Facts, error) {
	f := Facts{Booted: n.Booted, Rescue: n.Rescue, KernelID: n.KernelID, Trial: s.Trial}
	if n.dry != nil && n.dry.block != nil {
		f.Block = *n.dry.block
		return f, nil
	}
	err := n.withBlock(true, func(e grub.Env) (err error) {
		f.Block, err = e.Read()
		return err
	})
	if errors.Is(err, grub.ErrDamaged) {
		f.BlockErr = err
		return f, nil
	}
	return f, err
}

// inactive returns the slot that may be written: the one that is not booted.
func (f Facts) inactive() grub.Slot {
	if f.Rescue {
		return f.Block.Active.Other()
	}
	return f.Booted.Slot.Other()
}
