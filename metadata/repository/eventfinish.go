package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// finishChange completes a change of keys that was cut short between the new root
// and the timestamp, without the event that made the root. It returns the roles
// that it has signed. The root is published and signed by all who had to; what is
// left to do is what the keys of the roles below it can do. Where these are not
// here it is refused with ReasonUnfinished.
//
// What else the event may have changed of targets is not published by this, unless
// the published targets do not verify under the new root: then the ones that were
// written for it take their place. [Repository.PublishEvent] publishes the rest.
func (r *Repository) finishChange(ctx context.Context, keys Signers) ([]string, error) {
	unlock, err := r.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	e, root, err := r.startFinish(ctx)
	if err != nil {
		return nil, err
	}
	e.finishRoot(root)
	if root.VerifyDelegate(Targets, e.state.targets()) != nil {
		targets, err := e.writtenTargets(ctx)
		if err != nil {
			return nil, err
		}
		if err := e.adoptTargets(ctx, targets); err != nil {
			return nil, err
		}
	}
	roles := e.follow()
	if err := e.unlockRoles(ctx, keys, roles); isNotEnoughKeys(err) {
		return nil, refuse(ReasonUnfinished, "give refresh, with --keys, these keys too: "+e.keysOf(roles),
			"root version %d was published, and the rest of that change was not: %w", root.Signed.Version, err)
	} else if err != nil {
		return nil, err
	}
	var names []string
	for _, role := range roles {
		names = append(names, role.name)
	}
	_, err = e.Commit(ctx, keys)
	return names, err
}

// startFinish returns an edit of the state that the root before the newest leads
// to, and the newest root.
func (r *Repository) startFinish(ctx context.Context) (*Edit, *tuf.Metadata[tuf.RootType], error) {
	from, err := r.pinnedReader(ctx)
	if err != nil {
		return nil, nil, err
	}
	was, err := r.before(ctx)
	if err != nil {
		return nil, nil, err
	}
	root, _, err := loadRoot(ctx, from, 0)
	if err != nil {
		return nil, nil, err
	}
	before, _, err := loadRoot(ctx, from, root.Signed.Version-1)
	if err != nil {
		return nil, nil, err
	}
	st, err := loadUnder(ctx, r.store, before)
	if err != nil {
		return nil, nil, err
	}
	if err := was.check(ctx, st); err != nil {
		return nil, nil, err
	}
	e := r.newEdit(st, func() {})
	e.published, e.earlier = st.root, was
	return e, root, nil
}

// writtenTargets returns the newest targets that were written, and not published,
// and verify under the root.
func (e *Edit) writtenTargets(ctx context.Context) (*tuf.Metadata[tuf.TargetsType], error) {
	var newest *tuf.Metadata[tuf.TargetsType]
	for version := e.state.targets().Signed.Version + 1; ; version++ {
		name := versionedFile(Targets, version)
		if _, err := e.repo.store.Stat(ctx, name); errors.Is(err, fs.ErrNotExist) {
			break
		}
		data, err := readMetadata(ctx, e.repo.store, name)
		if err != nil {
			return nil, err
		}
		md, err := verified[tuf.TargetsType](e.state.root, Targets, name, data, nil)
		if err == nil && md.Signed.Version == version {
			newest = md
		}
	}
	if newest == nil {
		return nil, refuse(ReasonUnfinished, "run `root publish` again, with the event that makes this root",
			"root version %d was published, and targets that it vouches for were not", e.state.root.Signed.Version)
	}
	return newest, nil
}

// keysOf names the keys that may sign roles, for people.
func (e *Edit) keysOf(roles []liveRole) string {
	var list []string
	for _, r := range roles {
		a, err := e.state.authority(r.name, r.parent)
		if err != nil {
			continue
		}
		var ids []string
		for _, id := range a.ids {
			ids = append(ids, shortID(a.keyRef(id).ID))
		}
		list = append(list, fmt.Sprintf("%s: %d of %s", r.name, a.threshold, strings.Join(ids, ", ")))
	}
	return strings.Join(list, "; ")
}
