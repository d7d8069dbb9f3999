package repository

import (
	"fmt"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// The four top-level roles, in the order of the chain of trust.
const (
	Root      = tuf.ROOT
	Targets   = tuf.TARGETS
	Snapshot  = tuf.SNAPSHOT
	Timestamp = tuf.TIMESTAMP
)

// Roles returns the top-level roles in the order of the chain of trust.
func Roles() []string { return []string{Root, Targets, Snapshot, Timestamp} }

// RolePolicy says how long a role's metadata lives and when it is due.
type RolePolicy struct {
	Expiry time.Duration // from signing to expiry
	Window time.Duration // before expiry, in which Refresh signs again
}

// Policy is the policy of each role. It is stored in root.json, so that every
// later command follows it and only root keys can change it.
type Policy map[string]RolePolicy

const day = 24 * time.Hour

// DefaultPolicy returns the policy of a new repository. Root and targets are
// signed by people with offline keys, so they live a year and are due two
// months before. The timestamp bounds for how long a node can be shown an old
// state without noticing: two weeks, signed again by a machine in the second.
func DefaultPolicy() Policy {
	return Policy{
		Root:      {Expiry: 365 * day, Window: 60 * day},
		Targets:   {Expiry: 365 * day, Window: 60 * day},
		Snapshot:  {Expiry: 30 * day, Window: 15 * day},
		Timestamp: {Expiry: 14 * day, Window: 7 * day},
	}
}

func (p Policy) check() error {
	for _, role := range Roles() {
		rp := p[role]
		if rp.Expiry < time.Second || rp.Window < 0 || rp.Window >= rp.Expiry {
			return fmt.Errorf("policy of %s: expiry %s must be positive and longer than the window %s", role, rp.Expiry, rp.Window)
		}
	}
	return nil
}

// Names of the fields that hold the policy in a role of root.json. Clients
// ignore fields that they do not know (TUF specification, section 4).
const (
	expiryField = "x-tufboot-expiry-seconds"
	windowField = "x-tufboot-window-seconds"
)

func storePolicy(root *tuf.RootType, p Policy) {
	for _, role := range Roles() {
		r := root.Roles[role]
		if r.UnrecognizedFields == nil {
			r.UnrecognizedFields = make(map[string]any)
		}
		r.UnrecognizedFields[expiryField] = int64(p[role].Expiry / time.Second)
		r.UnrecognizedFields[windowField] = int64(p[role].Window / time.Second)
	}
}

// policyOf reads the policy that root.json holds, and the default where it
// holds none (a repository made by another tool).
func policyOf(root *tuf.RootType) Policy {
	p := DefaultPolicy()
	for _, role := range Roles() {
		r := root.Roles[role]
		if r == nil {
			continue
		}
		expiry, ok1 := seconds(r.UnrecognizedFields[expiryField])
		window, ok2 := seconds(r.UnrecognizedFields[windowField])
		if ok1 && ok2 && expiry > 0 && window < expiry {
			p[role] = RolePolicy{Expiry: expiry, Window: window}
		}
	}
	return p
}

// seconds converts a field's value; encoding/json makes numbers float64.
func seconds(v any) (time.Duration, bool) {
	const most = 100 * 365 * 24 * 3600 // keeps the product in range
	switch n := v.(type) {
	case float64:
		return time.Duration(n) * time.Second, n >= 0 && n <= most
	case int64:
		return time.Duration(n) * time.Second, n >= 0 && n <= most
	}
	return 0, false
}
