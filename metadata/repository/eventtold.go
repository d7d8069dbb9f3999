package repository

import (
	"slices"
)

// told takes out of the plain JSON of both sides what has been told otherwise.
type told struct {
	before, after map[string]any
	keys          FromTo[map[string]bool] // told as removed, and as added, by id
}

func newTold(before, after map[string]any) *told {
	t := &told{before: before, after: after}
	t.keys.From, t.keys.To = make(map[string]bool), make(map[string]bool)
	for _, side := range []map[string]any{before, after} {
		delete(side, "version")
		delete(side, "expires")
	}
	return t
}

// role notes what roleChange has told of a role.
func (t *told) role(before, after *roleView, added, removed []string) {
	for _, id := range removed {
		if before.keyRef(id).ID == id {
			t.keys.From[id] = true
		}
	}
	for _, id := range added {
		if after.keyRef(id).ID == id {
			t.keys.To[id] = true
		}
	}
	if after == nil {
		delete(rolesOf(t.before), before.role)
		return
	}
	name := after.role
	// The order of the ids means nothing. Only where it is not what comes of
	// adding and removing, the whole list is shown.
	var want []string
	if before != nil {
		want = slices.DeleteFunc(slices.Clone(before.ids), func(id string) bool { return slices.Contains(removed, id) })
	}
	listTold := slices.Equal(append(want, added...), after.ids)
	for _, side := range []struct {
		all  map[string]any
		role *roleView
	}{{t.before, before}, {t.after, after}} {
		entry, ok := rolesOf(side.all)[name].(map[string]any)
		if !ok || side.role == nil {
			delete(rolesOf(side.all), name)
			continue
		}
		delete(entry, "threshold")
		if listTold {
			delete(entry, "keyids")
		}
		if side.role.hasPolicy {
			delete(entry, expiryField)
			delete(entry, windowField)
		}
		if side.role.delegated {
			for _, field := range []string{"name", "paths", "terminating"} {
				delete(entry, field)
			}
		}
	}
	if before == nil { // what is left of a new role is compared with nothing
		rolesOf(t.before)[name] = map[string]any{}
	}
}

// rest returns what has not been told. A key is told by its name alone where
// it is on one side only, and where its name, a hash, says all of it.
func (t *told) rest() []Difference {
	before, after := keysOf(t.before), keysOf(t.after)
	for id := range t.keys.From {
		if _, both := after[id]; !both {
			delete(before, id)
		}
	}
	for id := range t.keys.To {
		if _, both := before[id]; !both {
			delete(after, id)
		}
	}
	return differences(t.before, t.after)
}
