package client

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"tufboot/metadata"
)

const (
	maxRoles     = 32 // that one look-up visits
	maxKeptRoles = 64 // files of delegated roles that are kept
)

// loadTargets loads targets.json, or a delegated role, as the snapshot names it:
// kept or from the server (section 5.6).
func (c *Client) loadTargets(ctx context.Context, t *trustedmetadata.TrustedMetadata, ref reference, role, parent string) error {
	if md := t.Targets[role]; md != nil {
		return c.delegated(t, md, role, parent)
	}
	file := role + ".json"
	kept := file
	if role != tuf.TARGETS {
		kept = keptRole(role)
		if err := metadata.CheckTarget(role); err != nil || strings.Contains(role, "/") {
			return rejected(parent+".json", nil, nil, fmt.Errorf("it delegates to a role with the name %q", role))
		}
	}
	update := func(data []byte) error {
		return guard(func() error { return updateTargets(t, data, role, parent) })
	}
	have, err := c.store.load(kept, maxTargets, func(data []byte) error {
		err := update(data)
		if err != nil && json.Valid(data) {
			return errOutdated // most likely: of an older snapshot
		}
		return err
	})
	if err != nil || have {
		return err
	}
	info := t.Snapshot.Signed.Meta[file]
	if info == nil {
		return rejected(snapshotFile, nil, nil, fmt.Errorf("%w: it does not list %s", errMixed, file))
	}
	data, err := c.fetch(ctx, remote(versionedName(t, file, info.Version)), limitOf(info, maxTargets))
	if err != nil {
		return err
	}
	if err := update(data); err != nil {
		known := c.known
		if parent != tuf.ROOT {
			known = make(keyIDs).add(t.Targets[parent].Signed.Delegations.Keys)
		}
		return rejectedTargets(t, ref, file, known, data, err)
	}
	if err := c.store.write(kept, data); err != nil {
		return err
	}
	c.pruneRoles(t)
	return nil
}

// delegated checks that a role that was loaded by the word of one role is what
// another one delegates to, too: each names its own keys.
func (c *Client) delegated(t *trustedmetadata.TrustedMetadata, md *tuf.Metadata[tuf.TargetsType], role, parent string) error {
	if parent == tuf.ROOT {
		return nil // its only parent, which loaded it
	}
	err := guard(func() error { return t.Targets[parent].VerifyDelegate(role, md) })
	if err != nil {
		return rejected(role+".json", nil, nil, err)
	}
	return nil
}

const (
	rolePrefix = "role-" // a delegated role may be called "timestamp"
	roleSuffix = ".json"
)

// keptRole returns the name under which a delegated role's file is kept.
func keptRole(role string) string { return rolePrefix + role + roleSuffix }

// roleOf is the other way round; false for other files.
func roleOf(kept string) (role string, ok bool) {
	role, isRole := strings.CutPrefix(kept, rolePrefix)
	role, isJSON := strings.CutSuffix(role, roleSuffix)
	return role, isRole && isJSON
}

// pruneRoles bounds what is kept of delegated roles: the snapshot may list
// thousands (hash bins), of which a node looks into a few. A role that is no
// longer listed goes, and so does the oldest of too many that this run has not
// used. Nothing is lost with them: that no role goes back to an older version is
// seen to by the kept snapshot.
func (c *Client) pruneRoles(t *trustedmetadata.TrustedMetadata) {
	gone := func(name string) bool {
		role, ok := roleOf(name)
		return ok && t.Snapshot.Signed.Meta[role+roleSuffix] == nil
	}
	c.store.prune(c.store.dir, 0, gone)
	unused := func(name string) bool {
		role, ok := roleOf(name)
		return ok && t.Targets[role] == nil
	}
	c.store.prune(c.store.dir, max(maxKeptRoles-len(t.Targets), 0), unused)
}

// rejectedTargets says why a targets file from the server was not accepted.
func rejectedTargets(t *trustedmetadata.TrustedMetadata, ref reference, file string, known keyIDs, data []byte, err error) error {
	if isExpiry(err) || isVersion(err) {
		// Its signatures were good, so its content can be believed.
		md := new(tuf.Metadata[tuf.TargetsType])
		if parseErr := guard(func() (err error) { md, err = md.FromBytes(data); return err }); parseErr != nil {
			return rejected(file, data, nil, parseErr)
		}
		if isExpiry(err) {
			return ref.expired(file, md.Signed.Expires)
		}
		if md.Signed.Version > t.Snapshot.Signed.Meta[file].Version {
			err = fmt.Errorf("%w: %w", errMixed, err)
		}
	}
	return rejected(file, data, known, err)
}

// errNotRefreshed is a caller's mistake: also after a Latest that found nothing new.
var errNotRefreshed = errors.New("metadata client: used before Refresh succeeded")

// lookup returns what the signed metadata says of a target: of targets.json or,
// in pre-order, of the roles that it delegates to (section 5.6.7).
func (c *Client) lookup(ctx context.Context, name string) (*tuf.TargetFiles, error) {
	if !c.complete {
		return nil, errNotRefreshed
	}
	if err := metadata.CheckTarget(name); err != nil {
		return nil, err
	}
	w := &walk{c: c, name: name, seen: make(map[string]bool)}
	found, _, err := w.visit(ctx, tuf.TARGETS, tuf.ROOT)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, &notFoundError{what: "target " + name}
	}
	if len(found.Hashes["sha256"]) != sha256.Size || found.Length < 0 {
		return nil, rejected(targetsFile, nil, nil, fmt.Errorf("it gives %s no SHA-256 or no possible length", name))
	}
	return found, nil
}

// walk is one look-up through the delegations.
type walk struct {
	c    *Client
	name string
	seen map[string]bool
}

// visit returns the target if role, or a role below it, has it; done says that
// the look-up ends here either way, at a terminating delegation.
func (w *walk) visit(ctx context.Context, role, parent string) (found *tuf.TargetFiles, done bool, err error) {
	if w.seen[role] || len(w.seen) >= maxRoles {
		return nil, false, nil
	}
	w.seen[role] = true
	t := w.c.trusted
	if err := w.c.loadTargets(ctx, t, w.c.ref, role, parent); err != nil {
		return nil, false, err
	}
	signed := t.Targets[role].Signed
	if f := signed.Targets[w.name]; f != nil {
		return f, true, nil
	}
	if signed.Delegations == nil {
		return nil, false, nil
	}
	var below []tuf.RoleResult
	err = guard(func() error { below = signed.Delegations.GetRolesForTarget(w.name); return nil })
	if err != nil {
		return nil, false, rejected(role+".json", nil, nil, err)
	}
	for _, child := range below {
		found, done, err = w.visit(ctx, child.Name, role)
		if err != nil || done || found != nil {
			return found, true, err
		}
		if child.Terminating {
			return nil, true, nil
		}
	}
	return nil, false, nil
}
