package metadata

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// ErrNoRelease is in the chain of errors of Choose when the channel has no
// release for the architecture.
var ErrNoRelease = errors.New("no release for this architecture")

// ErrNoPath is in the chain of errors of Choose when no step leads from a node's
// version to the channel's release.
var ErrNoPath = errors.New("no update path")

// Channel is a signed pointer to the current release of each architecture
// (channels/NAME.json). Promotion and withdrawal move the pointer; artifacts
// are never uploaded again.
//
// Steps, Maintenance, Previous and the optional fields of ReleaseRef belong to
// schema 1 like the rest, and readers from before them ignore them: a node with
// such an agent goes to the channel's release at once and directly. They are how
// a release reaches those nodes whose agent knows them, never what keeps an old
// node from harm; for that, the release before has to bring a newer agent first.
type Channel struct {
	Schema int    `json:"schema"`
	Name   string `json:"name"`
	// Releases maps an architecture to its current release.
	Releases map[string]ReleaseRef `json:"releases"`
	// Steps maps an architecture to the releases that nodes below a Minimum go
	// through first, in increasing order, all below the current one.
	Steps map[string][]ReleaseRef `json:"steps,omitempty"`
	// Maintenance is when nodes had better be updated.
	Maintenance *Maintenance `json:"maintenance,omitempty"`
	// Previous maps an architecture to what the channel pointed to before, the
	// most recent first. Nodes do not read it.
	Previous map[string][]PastRef `json:"previous,omitempty"`
}

// ReleaseRef points to a release manifest: the TUF target that carries it and
// the identity (SHA-256) that it must have. Two of them point to the same
// release if their SHA256 is the same; == compares Rollout by address.
type ReleaseRef struct {
	Version string `json:"version"`
	Target  string `json:"target"`
	SHA256  ID     `json:"sha256"`
	// Minimum is the lowest version (by CompareVersions) that a node may run to
	// be updated to the release directly; "": any.
	Minimum string `json:"minimum,omitempty"`
	// Rollout is which nodes may have the release when; nil: all of them now.
	Rollout *Rollout `json:"rollout,omitempty"`
}

// PastRef is a release that a channel pointed to before.
type PastRef struct {
	Version string `json:"version"`
	Target  string `json:"target"`
	SHA256  ID     `json:"sha256"`
	// Minimum is that of the pointer that it was, for going back to it.
	Minimum string    `json:"minimum,omitempty"`
	Until   time.Time `json:"until"` // when the channel moved on; UTC, whole seconds
	// Withdrawn says that the release was taken back, so that nobody goes back
	// to it by mistake.
	Withdrawn bool `json:"withdrawn,omitempty"`
}

// Ref returns the pointer to go back to the release, for all nodes at once.
func (p PastRef) Ref() ReleaseRef {
	return ReleaseRef{Version: p.Version, Target: p.Target, SHA256: p.SHA256, Minimum: p.Minimum}
}

// Choose returns the release that a node on version booted may go to: the
// channel's release if its Minimum allows, else the highest step above booted
// whose Minimum allows. It does not look at rollouts and at the time.
//
// A node whose version is not known ("": nothing installed yet, or a manifest
// that cannot be read) may go to the channel's release: it has no other way to a
// whole one. Errors wrap ErrNoRelease or ErrNoPath.
func (c *Channel) Choose(arch, booted string) (ReleaseRef, error) {
	current, ok := c.Releases[arch]
	if !ok {
		return ReleaseRef{}, fmt.Errorf("channel %s: %s: %w", c.Name, arch, ErrNoRelease)
	}
	if current.allows(booted) {
		return current, nil
	}
	steps := c.Steps[arch]
	for i := len(steps) - 1; i >= 0; i-- {
		if CompareVersions(steps[i].Version, booted) > 0 && steps[i].allows(booted) {
			return steps[i], nil
		}
	}
	return ReleaseRef{}, fmt.Errorf("channel %s: release %s wants %s or later, and no step leads there from %s: %w",
		c.Name, current.Version, current.Minimum, booted, ErrNoPath)
}

// allows reports whether a node on a version may go there directly.
func (r *ReleaseRef) allows(booted string) bool {
	return booted == "" || r.Minimum == "" || CompareVersions(booted, r.Minimum) >= 0
}

// Encode returns the channel file's bytes, after checking it.
func (c *Channel) Encode() ([]byte, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	return encode(c)
}

// ParseChannel decodes and checks a channel file. Errors wrap ErrFormat.
func ParseChannel(data []byte) (*Channel, error) {
	c := new(Channel)
	if err := decode(data, c); err != nil {
		return nil, fmt.Errorf("channel file: %w", err)
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Channel) validate() error {
	if err := checkSchema(c.Schema); err != nil {
		return fmt.Errorf("channel file: %w", err)
	}
	if err := CheckChannel(c.Name); err != nil {
		return err
	}
	for _, arch := range slices.Sorted(maps.Keys(c.Releases)) {
		if err := CheckArch(arch); err != nil {
			return fmt.Errorf("channel %s: %w", c.Name, err)
		}
		if err := c.Releases[arch].validate(); err != nil {
			return fmt.Errorf("channel %s: %s: %w", c.Name, arch, err)
		}
	}
	for _, arch := range slices.Sorted(maps.Keys(c.Steps)) {
		if err := c.validateSteps(arch); err != nil {
			return fmt.Errorf("channel %s: %s: %w", c.Name, arch, err)
		}
	}
	for _, arch := range slices.Sorted(maps.Keys(c.Previous)) {
		if err := validatePrevious(arch, c.Previous[arch]); err != nil {
			return fmt.Errorf("channel %s: %s: %w", c.Name, arch, err)
		}
	}
	if err := c.Maintenance.validate(); err != nil {
		return fmt.Errorf("channel %s: %w", c.Name, err)
	}
	return nil
}

// validateSteps wants every step to lead upwards, and at last to the release:
// then no node goes in circles, whatever it starts from.
func (c *Channel) validateSteps(arch string) error {
	current, ok := c.Releases[arch]
	if !ok {
		return fmt.Errorf("steps to no release: %w", ErrFormat)
	}
	steps := c.Steps[arch]
	if len(steps) > MaxSteps {
		return fmt.Errorf("%d steps, more than %d: %w", len(steps), MaxSteps, ErrFormat)
	}
	for i, step := range steps {
		if err := step.validate(); err != nil {
			return fmt.Errorf("step %s: %w", step.Version, err)
		}
		next := current
		if i+1 < len(steps) {
			next = steps[i+1]
		}
		if CompareVersions(step.Version, next.Version) >= 0 {
			return fmt.Errorf("step %s is not below %s, which comes after it: %w", step.Version, next.Version, ErrFormat)
		}
	}
	return nil
}

func validatePrevious(arch string, past []PastRef) error {
	if err := CheckArch(arch); err != nil {
		return err
	}
	if len(past) > MaxPrevious {
		return fmt.Errorf("%d previous releases, more than %d: %w", len(past), MaxPrevious, ErrFormat)
	}
	for _, p := range past {
		if err := p.Ref().validate(); err != nil {
			return fmt.Errorf("previous release %s: %w", p.Version, err)
		}
		if err := checkTime(p.Until); err != nil {
			return fmt.Errorf("previous release %s: until: %w", p.Version, err)
		}
	}
	return nil
}

func (r ReleaseRef) validate() error {
	if err := CheckVersion(r.Version); err != nil {
		return err
	}
	if err := CheckTarget(r.Target); err != nil {
		return err
	}
	if r.Minimum != "" {
		if err := CheckVersion(r.Minimum); err != nil {
			return fmt.Errorf("minimum: %w", err)
		}
		if CompareVersions(r.Minimum, r.Version) > 0 {
			return fmt.Errorf("the minimum %s is above the release %s itself: %w", r.Minimum, r.Version, ErrFormat)
		}
	}
	if err := r.Rollout.validate(); err != nil {
		return err
	}
	return checkSHA256(string(r.SHA256))
}
