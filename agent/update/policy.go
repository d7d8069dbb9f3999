package update

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tufboot/internal/atomicfile"
	"tufboot/metadata"
	"tufboot/metadata/client"
)

// Policy is how a node follows what its channel plans ahead.
type Policy struct {
	// Seed gives the node its place in rollouts (metadata.Position); "": a random
	// one that is made when it is first needed and kept in the state folder. It
	// is not made from /etc/machine-id: where the system is an initramfs, that is
	// either the same on every node, so that all of them would go in one wave, or
	// another at every boot.
	Seed string
	// FollowMaintenance refuses updates outside the channel's maintenance window.
	FollowMaintenance bool
	// Now waits neither for a wave nor for a window.
	Now bool
	// Local is the zone of windows that are not in UTC; nil: time.Local.
	Local *time.Location
}

// Turn is where a node stands in the rollout of a release.
type Turn struct {
	Percent  int     `json:"percent"`  // of the nodes that may have the release now
	Position float64 `json:"position"` // of this node: from 0, which goes first, to below 1
	Open     bool    `json:"open"`     // it is this node's turn
	// Opens is when this node's turn is, or was; zero: no wave reaches it yet.
	Opens   time.Time         `json:"opens,omitzero"`
	Rollout *metadata.Rollout `json:"rollout"`
}

// at returns the turn as it is at another time.
func (t Turn) at(now time.Time) Turn {
	var reached bool
	t.Percent = t.Rollout.Percent(now)
	t.Opens, reached = t.Rollout.Opens(t.Position)
	t.Open = reached && !now.Before(t.Opens)
	return t
}

// Window is the channel's maintenance hint, seen from a node.
type Window struct {
	*metadata.Maintenance
	Followed bool      `json:"followed"` // by this node's configuration
	Open     bool      `json:"open"`
	Next     time.Time `json:"next"` // when the next one opens
}

func (w Window) at(now time.Time, local *time.Location) Window {
	w.Open, w.Next = w.Maintenance.Open(now, local), w.Maintenance.Next(now, local)
	return w
}

// schedule adds to a plan what the channel plans ahead for its release.
func (n *Node) schedule(p *Plan) error {
	r := p.resolved
	if r.Current.SHA256 != r.ID {
		p.Final = r.Current.Version
	}
	now, _ := n.Client.Time()
	if r.Ref.Rollout != nil {
		seed, err := n.seed()
		if err != nil {
			return err
		}
		turn := Turn{Position: metadata.Position(seed, r.ID), Rollout: r.Ref.Rollout}.at(now)
		p.Turn = &turn
	}
	if r.Maintenance != nil {
		w := Window{Maintenance: r.Maintenance, Followed: n.Policy.FollowMaintenance}.at(now, n.local())
		p.Window = &w
	}
	return nil
}

func (n *Node) local() *time.Location {
	if n.Policy.Local == nil {
		return time.Local
	}
	return n.Policy.Local
}

// wait refuses a release that this node is not to have yet. A window cannot be
// kept by a node whose clock is wrong: it might miss every one of them.
func (n *Node) wait(p Plan) error {
	if n.Policy.Now {
		return nil
	}
	if t := p.Turn; t != nil && !t.Open {
		if t.Opens.IsZero() {
			return refuse(ReasonNotYet, "wait until the repository's owner lets the rollout go on; `agent update --now` does not wait",
				"release %s is for %d percent of the nodes, and no wave of its rollout reaches this one yet", p.Version, t.Percent)
		}
		return refuse(ReasonNotYet, "wait: a run after that time installs it; `agent update --now` does not wait",
			"release %s is for %d percent of the nodes now, and this node's turn is at %s", p.Version, t.Percent, t.Opens.Format(time.RFC3339))
	}
	if _, sound := n.Client.Time(); sound && p.Window != nil && p.Window.Followed && !p.Window.Open {
		return refuse(ReasonMaintenance, "wait: a run within the window installs it; `agent update --now` does not wait",
			"release %s waits for the channel's maintenance window, which opens at %s", p.Version, p.Window.Next.Format(time.RFC3339))
	}
	return nil
}

// resolve asks the repository for the release with the given version, or else
// for the one that the channel has for this node.
func (n *Node) resolve(ctx context.Context, booted SlotRelease, want string) (*client.Resolved, error) {
	if want != "" {
		if err := n.Client.Refresh(ctx); err != nil {
			return nil, err
		}
		return n.Client.ReleaseByVersion(ctx, want, n.Arch)
	}
	r, err := n.Client.Latest(ctx, n.Channel, n.Arch, booted.Version, booted.ID)
	if errors.Is(err, metadata.ErrNoPath) {
		return nil, refuse(ReasonNoPath,
			"the repository's owner names a release in between (a step); by hand, `agent update --release VERSION` goes to any release, at your own risk",
			"%v", err)
	}
	return r, err
}

const seedFile = "rollout-seed"

// seed returns the node's seed, and makes it where there is none.
func (n *Node) seed() (string, error) {
	if n.Policy.Seed != "" {
		return n.Policy.Seed, nil
	}
	path := filepath.Join(n.StateDir, seedFile)
	kept, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read this node's seed for rollouts: %w", err)
	}
	if seed := strings.TrimSpace(string(kept)); seed != "" {
		return seed, nil
	}
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("make a seed for rollouts: %w", err)
	}
	seed := hex.EncodeToString(b[:])
	if err := atomicfile.Write(path, []byte(seed+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep this node's seed for rollouts: %w", err)
	}
	return seed, nil
}
