package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tufboot/e2e/lab"
	"tufboot/e2e/machine"
)

// TestRefusals attacks a node with repositories that must not be believed. Each
// is refused with its own reason, and neither slot nor the boot state changes.
func TestRefusals(t *testing.T) {
	t.Parallel()
	n := newNode(t, machine.BIOS)
	n.start()
	n.comesUp("A", "v1", 0)
	n.gatePasses()
	old := n.variant("old", nothing)
	n.publish("v2", n.repo.GoodRelease)

	slots, env := n.slots(), n.env()
	untouched := func(n *node) {
		n.Helper()
		if n.slots() != slots {
			n.Error("the refused update changed a slot")
		}
		if !bytes.Equal(n.env(), env) {
			n.Errorf("the refused update changed the environment block to\n%s", n.env())
		}
	}
	attacks := []struct {
		name, reason, server string
	}{
		{"tampered timestamp", "bad-signature", n.variant("timestamp", flip("metadata/timestamp.json", `"expires": "20`))},
		{"tampered targets", "bad-hash", n.variant("targets", flip("metadata/*.targets.json", ""))},
		{"tampered manifest", "bad-hash", n.variant("manifest", flip("targets/releases/v2/amd64/*.release.json", ""))},
		{"expired", "metadata-expired", n.variant("expired", outdated)},
		{"wrong root", "wrong-root", n.strangersRepo()},
	}
	for _, a := range attacks {
		n.step(a.name, func(n *node) {
			n.refused("update --server "+a.server, 4, a.reason)
			untouched(n)
		})
	}
	n.step("rolled-back repository", func(n *node) {
		n.sh("agent check", 0) // sees v2
		n.refused("update --server "+old, 4, "metadata-rollback")
		untouched(n)
	})
}

// TestTamperedArtifact: what is wrong shows only while the slot is written. The
// booted slot and the choice of GRUB stay, and the bad file has no name that
// GRUB would load.
func TestTamperedArtifact(t *testing.T) {
	t.Parallel()
	n := newNode(t, machine.BIOS)
	n.start()
	n.comesUp("A", "v1", 0)
	n.gatePasses()
	n.publish("v2", n.repo.GoodRelease)
	bad := n.variant("artifact", flip("targets/releases/v2/amd64/*.vmlinuz", ""))
	booted, err := n.image.Hash("SYSTEM-A")
	n.must(err)
	// Without it, the node would take the kernel from its other slot and never see.
	n.refused("update --no-delta --server "+bad, 4, "bad-hash")
	if got, err := n.image.Hash("SYSTEM-A"); err != nil || got != booted {
		n.Errorf("the booted slot changed (%v)", err)
	}
	n.envHas("boot_success=1", "active_slot=A", "A_ok=1", "B_ok=0")
	if files := n.sh("mkdir /mnt && mount -o ro,noload $(agent locate b) /mnt && ls /mnt && umount /mnt", 0); bytes.Contains([]byte(files), []byte("vmlinuz\n")) {
		n.Errorf("slot B holds a kernel that was not verified: %s", files)
	}
	n.reboot("A", "v1", 0)
	n.gatePasses()
	n.sh("agent update", 0)
	n.reboot("B", "v2", 1)
	n.gatePasses()
}

// variant copies the node's repository to one that change has been at, and
// returns its address.
func (n *node) variant(name string, change func(*node, *lab.Repo)) string {
	n.Helper()
	r, err := n.repo.Copy(n.repo.Name + "-" + name)
	n.must(err)
	change(n, r)
	return r.Server
}

func nothing(*node, *lab.Repo) {}

// outdated is a change that signs the repository anew with the right keys,
// but with a date at which it has expired by now.
func outdated(n *node, r *lab.Repo) {
	n.Helper()
	n.must(r.Refresh(n.Context(), time.Now().AddDate(-2, 0, 0)))
}

// flip returns a change to the newest file that matches pattern: one bit of the
// byte that follows the first mark, or of the byte in the middle for no mark.
func flip(pattern, mark string) func(*node, *lab.Repo) {
	return func(n *node, r *lab.Repo) {
		n.Helper()
		files, err := filepath.Glob(filepath.Join(r.Dir, pattern))
		if err != nil || len(files) == 0 {
			n.Fatalf("no %s in %s (%v)", pattern, r.Dir, err)
		}
		file := files[len(files)-1]
		data, err := os.ReadFile(file)
		n.must(err)
		at := len(data) / 2
		if mark != "" {
			at = bytes.Index(data, []byte(mark)) + len(mark)
		}
		data[at] ^= 1
		n.must(os.WriteFile(file, data, 0o644))
	}
}

// strangersRepo makes a repository with other keys that has the same release.
func (n *node) strangersRepo() string {
	n.Helper()
	r, err := n.lab.NewRepo(n.Context(), n.repo.Name+"-stranger")
	n.must(err)
	rel, err := r.GoodRelease("v2")
	n.must(err)
	n.must(r.Publish(n.Context(), rel))
	return r.Server
}
