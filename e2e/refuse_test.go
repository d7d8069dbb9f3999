package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

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
		name, reason string
		repo         string
	}{
		{"tampered timestamp", "bad-signature", n.variant("timestamp", flip("metadata/timestamp.json"))},
		{"tampered targets", "bad-hash", n.variant("targets", flip("metadata/*.targets.json"))},
		{"tampered manifest", "bad-hash", n.variant("manifest", flip("targets/releases/v2/amd64/*.release.json"))},
		{"wrong root", "wrong-root", n.strangersRepo()},
	}
	for _, a := range attacks {
		n.step(a.name, func(n *node) {
			n.refused("update --server "+n.lab.Server.URL(a.repo), 4, a.reason)
			untouched(n)
		})
	}
	n.step("rolled-back repository", func(n *node) {
		n.sh("agent check", 0) // sees v2
		n.refused("update --server "+n.lab.Server.URL(old), 4, "metadata-rollback")
		untouched(n)
	})
	n.step("expired timestamp", func(n *node) {
		n.sh("date -s '2040-01-01 00:00:00'", 0)
		n.refused("update", 4, "metadata-expired")
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
	bad := n.variant("artifact", flip("targets/releases/v2/amd64/*.vmlinuz"))
	booted, err := n.image.Hash("SYSTEM-A")
	n.must(err)
	n.refused("update --server "+n.lab.Server.URL(bad), 4, "bad-hash")
	if got, err := n.image.Hash("SYSTEM-A"); err != nil || got != booted {
		n.Errorf("the booted slot changed (%v)", err)
	}
	n.envHas("boot_success=1", "active_slot=A", "A_ok=1", "B_ok=0")
	if files := n.sh("mount -o ro,noload $(agent locate b) /mnt && ls /mnt; umount /mnt", 0); bytes.Contains([]byte(files), []byte("vmlinuz\n")) {
		n.Errorf("slot B holds a kernel that was not verified: %s", files)
	}
	n.reboot("A", "v1", 0)
	n.sh("agent update", 0)
	n.reboot("B", "v2", 1)
	n.gatePasses()
}

// variant copies the node's repository to one that change has been at, and
// returns its name on the server.
func (n *node) variant(name string, change func(n *node, dir string)) string {
	n.Helper()
	name = n.repo.Name + "-" + name
	dir := filepath.Join(n.lab.Repos, name)
	if out, err := exec.Command("cp", "-a", n.repo.Dir, dir).CombinedOutput(); err != nil {
		n.Fatalf("%v: %s", err, out)
	}
	change(n, dir)
	return name
}

func nothing(*node, string) {}

// flip returns a change that flips one bit in the middle of the newest file
// that matches pattern.
func flip(pattern string) func(*node, string) {
	return func(n *node, dir string) {
		n.Helper()
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(files) == 0 {
			n.Fatalf("no %s in %s (%v)", pattern, dir, err)
		}
		file := files[len(files)-1]
		data, err := os.ReadFile(file)
		n.must(err)
		data[len(data)/2] ^= 1
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
	return r.Name
}
