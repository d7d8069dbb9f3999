package repository

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"tufboot/metadata/storage"
)

// TestSignsForAnotherRoot is an attacker who can write the folder, and puts a
// repository of his own in its place, whose root lists our online keys beside
// his: the scheduler signs what he has put together.
func TestSignsForAnotherRoot(t *testing.T) {
	r, keys := newRepo(t)
	publish(t, r, keys, "1.0")
	st, err := load(t.Context(), r.store)
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := os.ReadFile(filepath.Join(r.Place(), "metadata", "1.root.json"))
	if err != nil {
		t.Fatal(err)
	}
	his := newForeign(t)
	his.dir = r.Place()
	if err := os.RemoveAll(filepath.Join(his.dir, "metadata")); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{Snapshot, Timestamp} {
		id := st.root.Signed.Roles[role].KeyIDs[0]
		key := st.root.Signed.Keys[id]
		his.signed[Root]["keys"].(object)[id] = object{"keytype": key.Type, "scheme": key.Scheme, "keyval": object{"public": key.Value.PublicKey}}
		his.role(role)["keyids"] = append(his.role(role)["keyids"].([]string), id)
	}
	his.write()
	online := maps.Clone(heldKeys{})
	for _, role := range []string{Snapshot, Timestamp} {
		id := st.root.Signed.Roles[role].KeyIDs[0]
		if online[id], err = keys.Signer(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	opts := at(start)
	opts.Pinned = [][]byte{pinned}
	_, err = newRepository(storage.NewFolder(his.dir), opts).Refresh(t.Context(), RefreshOptions{Keys: online, All: true})
	wantReason(t, err, ReasonWrongRoot)
}
