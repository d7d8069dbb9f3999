package update_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/grub"
	"tufboot/metadata"
	"tufboot/metadata/client"
)

// without removes what the server has of a release under names that end so.
func (r *rig) without(version, suffix string) {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.dir, "repo", "targets", "releases", version, arch, "*"+suffix))
	must(r.t, err)
	if len(files) != 1 {
		r.t.Fatalf("the server has %q of release %s", files, version)
	}
	must(r.t, os.Remove(files[0]))
}

// TestMissingArtifactKeepsTheWayBack has a server that lacks a part of the release,
// or has another, or cannot be reached any more: nothing is given up for it, and the
// other slot is still one to go back to.
func TestMissingArtifactKeepsTheWayBack(t *testing.T) {
	r := newRig(t)
	r.commit("2")
	before, held := r.block(), r.slotHash(grub.SlotA)
	refused := func(t *testing.T, wantExit int, wantReason string) {
		t.Helper()
		_, err := r.node().Update(t.Context(), "")
		if exitOf(err) != wantExit || reasonOf(err) != wantReason {
			t.Fatalf("exit code %d, reason %q, want %d, %q: %v", exitOf(err), reasonOf(err), wantExit, wantReason, err)
		}
		if !strings.Contains(err.Error(), "nothing was begun") {
			t.Errorf("it does not say that nothing was begun: %v", err)
		}
		if r.block() != before || r.slotHash(grub.SlotA) != held {
			t.Fatalf("the way back was given up: block %+v, was %+v", r.block(), before)
		}
	}
	for i, suffix := range []string{".initramfs", ".vmlinuz"} {
		version := string(rune('3' + i))
		r.publish(version)
		r.without(version, suffix)
		t.Run("no "+suffix, func(t *testing.T) { refused(t, 1, client.ReasonServerError) })
	}
	r.publish("5")
	for name, test := range map[string]struct {
		status, exit int
		reason       string
	}{
		"forbidden":      {http.StatusForbidden, 1, client.ReasonServerError},
		"another length": {http.StatusOK, 4, client.ReasonBadLength},
	} {
		t.Run(name, func(t *testing.T) {
			r.serve = func(w http.ResponseWriter, req *http.Request, files http.Handler) {
				if !strings.HasSuffix(req.URL.Path, ".initramfs") {
					files.ServeHTTP(w, req)
					return
				}
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte("<html>"))
			}
			refused(t, test.exit, test.reason)
		})
	}
	r.serve = nil
	to, err := r.node().Rollback(t.Context(), "no")
	must(t, err)
	if slot := r.reboot(); to != grub.SlotA || slot != grub.SlotA {
		t.Errorf("rolled back to %s, booted %s", to, slot)
	}
	r.wantSlot(grub.SlotA, "1")
}

// TestUnwillingServer does not tell whether it has an artifact, and is asked for it
// all the same.
func TestUnwillingServer(t *testing.T) {
	r := newRig(t)
	r.publish("2")
	r.serve = func(w http.ResponseWriter, req *http.Request, files http.Handler) {
		if req.Header.Get("Range") == "bytes=0-0" {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		files.ServeHTTP(w, req)
	}
	r.update()
	r.wantSlot(grub.SlotB, "2")
}

// TestProbesAreFew counts the requests of an update: one more for each artifact, only
// where the other slot can still be booted, and none by a node that has the release.
func TestProbesAreFew(t *testing.T) {
	r := newRig(t)
	probes := func() (n int) {
		for _, s := range r.seen() {
			if strings.HasSuffix(s, "bytes=0-0") {
				n++
			}
		}
		return n
	}
	r.publish("2")
	ctx, cancel := context.WithCancel(t.Context())
	n := r.node()
	n.Progress = func(string, int64, int64) { cancel() }
	if p, err := n.Update(ctx, ""); err == nil || p.Transfer.Requests < 2 {
		t.Fatalf("plan %+v, %v", p, err)
	}
	if n := probes(); n != 2 {
		t.Errorf("%d probes before the first update, want 2", n)
	}
	r.update()
	if n := probes(); n != 0 {
		t.Errorf("%d probes although the slot cannot be booted", n)
	}
	r.trial()
	r.update()
	if n := probes(); n != 0 {
		t.Errorf("%d probes with nothing new", n)
	}
	// An initramfs that did not change is copied: by its map, which is asked for.
	r.publishData("3", payload("3", metadata.KernelFile, kernelSize), payload("2", metadata.InitramfsFile, initramfsSize))
	r.without("3", ".initramfs")
	r.update()
	if n := probes(); n != 2 {
		t.Errorf("%d probes, want 2", n)
	}
	r.wantFile(grub.SlotA, metadata.InitramfsFile, payload("2", metadata.InitramfsFile, initramfsSize))
}
