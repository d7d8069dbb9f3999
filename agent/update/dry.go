package update

import "tufboot/grub"

// dryRun is what a node that only says what it would do has done in its mind: the
// same code that settles a node and looks for what is in the way runs on it, so that
// check agrees with update.
type dryRun struct {
	block *grub.State // as it would be; nil: as it is
	mends []string    // what would be put right first
}

// rehearse returns the node that does nothing.
func (n *Node) rehearse() *Node { return &Node{Options: n.Options, dry: new(dryRun)} }

// change takes note of a change of the environment block.
func (d *dryRun) change(what string, to grub.State) {
	d.block, d.mends = &to, append(d.mends, what)
}

// load reads the state.
func (n *Node) load() (State, error) {
	if n.dry != nil {
		return peekState(n.StateDir)
	}
	return LoadState(n.StateDir, n.Logger)
}

// save writes the state.
func (n *Node) save(s State) error {
	if n.dry != nil {
		return nil
	}
	return s.Save(n.StateDir)
}
