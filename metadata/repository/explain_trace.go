package repository

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"tufboot/metadata"
)

// trace looks for a target as clients do, writes down each role that is asked,
// and reports whether nothing is wrong with what was found. pinned is the
// SHA-256 that it must have, if anything says so.
func (x *explainer) trace(ctx context.Context, kind, target, pinned string) (bool, error) {
	t := &tracer{x: x, target: target, seen: make(map[string]bool)}
	t.Kind, t.Target, t.Pinned, t.Looked = kind, target, pinned, []Look{}
	found, _, err := t.visit(ctx, liveRole{Targets, Root}, nil)
	if err != nil {
		return false, err
	}
	if !found {
		t.Problem = "no role vouches for it"
	} else if err := metadata.CheckTarget(target); err != nil {
		t.Problem = err.Error()
	} else if err := x.present(ctx, &t.Trace); err != nil {
		return false, err
	}
	if found && pinned != "" && t.SHA256 != pinned {
		t.Problem = fmt.Sprintf("it has SHA-256 %.12s, and what leads here says %.12s", t.SHA256, pinned)
	}
	x.Targets = append(x.Targets, t.Trace)
	return t.Problem == "", nil
}

// tracer is one look-up; it does what search does.
type tracer struct {
	Trace
	x      *explainer
	target string
	seen   map[string]bool
}

func (t *tracer) visit(ctx context.Context, r liveRole, path []string) (found, done bool, err error) {
	if t.seen[r.name] {
		return false, false, nil
	}
	t.seen[r.name] = true
	role, err := t.x.st.role(ctx, r.name, r.parent)
	if err != nil {
		return false, false, err
	}
	if err := t.x.add(r, role); err != nil {
		return false, false, err
	}
	path = append(slices.Clone(path), r.name)
	if entry := role.md.Signed.Targets[t.target]; entry != nil {
		a := artifact(t.target, entry)
		t.Path, t.Length, t.SHA256, t.File = path, a.Length, a.SHA256, targetFile(a.Target, a.SHA256)
		t.look(r.name, "lists it")
		return true, true, nil
	}
	below := delegatedTo(role, t.target)
	t.look(r.name, t.answer(role, len(below)))
	for _, child := range below {
		found, done, err := t.visit(ctx, liveRole{child.Name, r.name}, path)
		if found || done || err != nil {
			return found, true, err
		}
		if child.Terminating {
			t.look(r.name, "asks no other role: "+child.Name+" has the last word on this name")
			return false, true, nil
		}
	}
	return false, false, nil
}

func (t *tracer) look(role, answer string) {
	t.Looked = append(t.Looked, Look{role, answer})
}

// answer says what a role that does not list the target says.
func (t *tracer) answer(role *targetsRole, below int) string {
	if below > 0 {
		return "does not list it, and knows who may"
	}
	others := children(role)
	if len(others) == 0 {
		return "does not list it, and asks nobody else"
	}
	const most = 8
	var names []string
	for _, name := range others[:min(len(others), most)] {
		if d := t.x.st.delegation(liveRole{name, role.name}); d != nil {
			names = append(names, fmt.Sprintf("%s (%s)", name, strings.Join(d.Paths, " ")))
		}
	}
	if len(others) > most {
		names = append(names, "...")
	}
	return "does not list it, and it is not among what others may: " + strings.Join(names, ", ")
}

// add explains a targets role, once.
func (x *explainer) add(r liveRole, role *targetsRole) error {
	if x.known[r.name] {
		return nil
	}
	x.known[r.name] = true
	link, err := x.link(r, versionedFile(r.name, role.md.Signed.Version), role.md)
	if err != nil {
		return err
	}
	x.Roles = append(x.Roles, link)
	return nil
}
