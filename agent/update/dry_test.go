package update_test

import (
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/agent/update"
	"tufboot/grub"
	"tufboot/image"
	"tufboot/metadata"
	"tufboot/metadata/repository"
)

// situationRow is a node in some situation, and what an update makes of it.
type situationRow struct {
	name      string
	arrange   func(r *rig)
	options   func(n *update.Node) // nil: as they are
	situation update.Situation
	install   bool
	reason    string // of the error; "": none, or one without a reason
	exit      int
	held      bool
	remade    bool
	mends     bool // the boot state is put right first
}

func situationRows() []situationRow {
	const (
		committed = update.SituationCommitted
		mismatch  = update.SituationMismatch
	)
	write := func(r *rig, path string, data []byte) { must(r.t, os.WriteFile(path, data, 0o600)) }
	published := func(r *rig) { r.publish("2") }
	armed := func(r *rig) { r.publish("2"); r.update() }
	onTrial := func(r *rig) { armed(r); r.reboot() }
	rows := []situationRow{
		{name: "nothing new", arrange: func(*rig) {}, situation: committed},
		{name: "a new release", arrange: published, situation: committed, install: true},
		{name: "no such channel", arrange: published, options: func(n *update.Node) { n.Channel = "nightly" }, situation: committed, reason: "not-found", exit: 3},
		{name: "a rescue system", arrange: published, options: func(n *update.Node) { n.Rescue, n.Booted = true, grub.Booted{} }, situation: committed, install: true},
		{name: "not booted by tufboot", arrange: func(r *rig) { published(r); r.booted = grub.Booted{} }, situation: update.SituationUnknown, reason: update.ReasonNotBooted, exit: 3},

		{name: "reboot pending", arrange: armed, situation: update.SituationArmed, reason: update.ReasonRebootPending, exit: 3},
		{name: "trial pending", arrange: onTrial, situation: update.SituationTrial, reason: update.ReasonTrialPending, exit: 3},
		{name: "trial pending, state lost", arrange: func(r *rig) { onTrial(r); must(r.t, os.RemoveAll(r.state)) }, situation: update.SituationTrial, reason: update.ReasonTrialPending, exit: 3},
		{name: "not counted", arrange: func(r *rig) { armed(r); r.kernelID = "another" }, situation: mismatch, reason: update.ReasonBootState, exit: 3},
		{name: "trial lost", arrange: func(r *rig) { onTrial(r); r.booted = grub.Booted{Slot: grub.SlotA} }, situation: committed, reason: update.ReasonFailedBefore, exit: 3, mends: true},
		{name: "rolled back", arrange: func(r *rig) {
			armed(r)
			for range grub.Attempts + 1 {
				r.reboot()
			}
		}, situation: committed, reason: update.ReasonFailedBefore, exit: 3},
		{name: "just committed", arrange: func(r *rig) {
			onTrial(r)
			path := filepath.Join(r.state, "state.json")
			state, err := os.ReadFile(path)
			must(r.t, err)
			_, err = r.gate(true)
			must(r.t, err)
			write(r, path, state)
			r.publish("3")
		}, situation: committed, install: true},
		{name: "never armed", arrange: func(r *rig) {
			published(r)
			before := r.block()
			r.update()
			_, err := grub.Env{Path: r.grubenv}.Update(func(grub.State) (grub.State, error) { return before, nil })
			must(r.t, err)
		}, situation: committed, install: true, held: true},
		{name: "other slot booted once", arrange: func(r *rig) { published(r); r.booted = grub.Booted{Slot: grub.SlotB} }, situation: update.SituationOtherSlot, reason: update.ReasonOtherSlot, exit: 3},
		{name: "active slot has gone bad", arrange: func(r *rig) {
			r.commit("2")
			r.publish("3")
			r.corrupt(grub.SlotB, "2")
			r.booted = grub.Booted{Slot: grub.SlotA}
		}, situation: committed, install: true, mends: true},

		{name: "block damaged", arrange: func(r *rig) { published(r); write(r, r.grubenv, make([]byte, 1024)) }, situation: committed, install: true, mends: true},
		{name: "block missing", arrange: func(r *rig) { published(r); must(r.t, os.Remove(r.grubenv)) }, situation: committed, install: true, mends: true},
		{name: "block damaged, running slot unknown", arrange: func(r *rig) {
			published(r)
			write(r, r.grubenv, nil)
			r.booted = grub.Booted{}
		}, situation: update.SituationDamaged, reason: update.ReasonBlockDamaged, exit: 3},
		{name: "block read-only", arrange: func(r *rig) { published(r); r.freeze() }, situation: committed, reason: image.ReasonESPReadOnly, exit: 3},
		{name: "block read-only and nothing new", arrange: (*rig).freeze, situation: committed},
		{name: "block damaged and read-only", arrange: func(r *rig) { published(r); write(r, r.grubenv, nil); r.freeze() }, situation: update.SituationDamaged, reason: image.ReasonESPReadOnly, exit: 3},

		{name: "state damaged", arrange: func(r *rig) {
			published(r)
			must(r.t, os.MkdirAll(r.state, 0o700))
			write(r, filepath.Join(r.state, "state.json"), []byte("{"))
		}, situation: committed, install: true},
		{name: "slot damaged", arrange: func(r *rig) { published(r); r.overwrite(0, make([]byte, 1<<20)) }, situation: committed, install: true, remade: true},
		{name: "slot of another label", arrange: func(r *rig) { published(r); r.run("e2label", r.loop+"p3", "SYSTEM-A") }, situation: committed, install: true, remade: true},
		{name: "slot mounted", arrange: func(r *rig) {
			published(r)
			point := r.t.TempDir()
			r.run("mount", r.loop+"p3", point)
			r.t.Cleanup(func() { r.run("umount", point) })
		}, situation: committed, reason: image.ReasonSlotMounted, exit: 3},
		{name: "slot too small", arrange: func(r *rig) { r.publishSized("2", 20<<20) }, situation: committed, reason: update.ReasonNoSpace, exit: 3},
		{name: "slot's file system too small", arrange: func(r *rig) { r.publishSized("2", 14<<20) }, situation: committed, reason: update.ReasonNoSpace, exit: 3},
		{name: "slot holds it", arrange: func(r *rig) { r.commit("2"); r.moveChannel("1") }, situation: committed, install: true, held: true},
		{name: "slot holds it, damaged", arrange: func(r *rig) {
			r.commit("2")
			r.moveChannel("1")
			r.corrupt(grub.SlotA, "1")
		}, situation: committed, install: true},

		{name: "two slots with one name", arrange: func(r *rig) {
			published(r)
			r.run("sfdisk", "-q", "--no-reread", "--part-label", r.loop, "3", "SYSTEM-A")
		}, reason: image.ReasonDuplicateLabel, exit: 3},
		{name: "another disk", arrange: func(r *rig) {
			published(r)
			r.run("dd", "if=/dev/zero", "of="+r.loop, "bs=1M", "count=1", "status=none")
		}, reason: image.ReasonPartitionMissing, exit: 3},
	}
	return append(rows, offerRows()...)
}

// offerRows are about what the repository has for the node.
func offerRows() []situationRow {
	const committed = update.SituationCommitted
	published := func(r *rig) { r.publish("2") }
	status := func(suffix string, code int) func(r *rig) {
		return func(r *rig) {
			published(r)
			r.serve = func(w http.ResponseWriter, req *http.Request, files http.Handler) {
				if strings.HasSuffix(req.URL.Path, suffix) {
					w.WriteHeader(code)
					return
				}
				files.ServeHTTP(w, req)
			}
		}
	}
	return []situationRow{
		{name: "an artifact is missing", arrange: status(".initramfs", http.StatusNotFound), situation: committed, reason: "server-error", exit: 1},
		{name: "an artifact is missing, nothing to lose", arrange: func(r *rig) {
			status(".initramfs", http.StatusNotFound)(r)
			_, err := grub.Env{Path: r.grubenv}.Update(func(s grub.State) (grub.State, error) { return s.Invalidate(grub.SlotB) })
			must(r.t, err)
			r.serve = nil
		}, situation: committed, install: true},
		{name: "no server", arrange: status("", http.StatusNotFound), situation: committed, reason: "server-error", exit: 1},
		{name: "expired", arrange: func(r *rig) { published(r); r.now = r.now.AddDate(5, 0, 0) }, situation: committed, reason: "metadata-expired", exit: 4},
		{name: "held back", arrange: func(r *rig) {
			r.policy = update.Policy{Seed: "node"}
			r.publishWaves("2", []metadata.Wave{{After: 3600, Percent: 100}})
		}, situation: committed, reason: update.ReasonNotYet, exit: 3},
		{name: "held back, not waited for", arrange: func(r *rig) {
			r.policy = update.Policy{Seed: "node", Now: true}
			r.publishWaves("2", []metadata.Wave{{After: 3600, Percent: 100}})
		}, situation: committed, install: true},
	}
}

// freeze mounts the environment block's folder read-only until the test ends.
func (r *rig) freeze() {
	r.t.Helper()
	dir := filepath.Dir(r.grubenv)
	r.run("mount", "--bind", dir, dir)
	r.t.Cleanup(func() { r.run("umount", dir) })
	r.run("mount", "-o", "remount,bind,ro", dir)
}

// publishSized publishes a release with an initramfs of so many bytes.
func (r *rig) publishSized(version string, size int) {
	r.t.Helper()
	r.publishData(version, payload(version, metadata.KernelFile, kernelSize), payload(version, metadata.InitramfsFile, size))
}

// publishWaves publishes a release to more and more nodes.
func (r *rig) publishWaves(version string, waves []metadata.Wave) {
	r.t.Helper()
	kernel := filepath.Join(r.dir, "1."+metadata.KernelFile)
	_, err := r.repo.Publish(r.t.Context(), repository.PublishOptions{
		Version: version, Arch: arch, Channel: "stable", Kernel: kernel, Initramfs: filepath.Join(r.dir, "1."+metadata.InitramfsFile),
		Pointing: repository.Pointing{Rollout: waves}, Keys: r.keys,
	})
	must(r.t, err)
}

// everything returns what a node has: its slots, its boot state, and its memory
// without the metadata cache.
func (r *rig) everything() map[string]string {
	r.t.Helper()
	all := map[string]string{"A": r.slotHash(grub.SlotA), "B": r.slotHash(grub.SlotB)}
	for _, dir := range []string{r.state, filepath.Dir(r.grubenv)} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if os.IsNotExist(err) || d.Name() == "metadata" {
				return fs.SkipDir
			}
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			info, ierr := d.Info()
			must(r.t, ierr)
			all[path] = fmt.Sprint(info.ModTime(), string(data))
			return err
		})
		must(r.t, err)
	}
	return all
}

// TestCheckAgreesWithUpdate puts nodes into all situations. What check says of them,
// without changing anything, is what an update then does.
func TestCheckAgreesWithUpdate(t *testing.T) {
	for _, row := range situationRows() {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			row.arrange(r)
			must(t, os.MkdirAll(r.state, 0o700)) // as the lock does
			run := func(what func(n *update.Node) (update.Plan, error)) (update.Plan, error) {
				n, err := r.open()
				if err != nil {
					return update.Plan{}, err
				}
				if row.options != nil {
					row.options(n)
				}
				return what(n)
			}
			before := r.everything()
			said, why := run(func(n *update.Node) (update.Plan, error) { return n.Check(t.Context(), "") })
			if !maps.Equal(before, r.everything()) {
				t.Error("check has changed the node")
			}
			r.wantForecast(row, said, why)
			did, err := run(func(n *update.Node) (update.Plan, error) { return n.Update(t.Context(), "") })
			if exitCode(err) != exitCode(why) || reasonOf(err) != reasonOf(why) || fmt.Sprint(err) != fmt.Sprint(why) {
				t.Errorf("update ended with %v, and check said %v", err, why)
			}
			if err == nil && (did.Install != said.Install || did.Held != said.Held || (did.Remade == "") != (said.Remade == "") ||
				did.Slot != said.Slot || did.Release != said.Release) || did.Situation != said.Situation {
				t.Errorf("update did %+v, and check said %+v", did, said)
			}
			if armed := err == nil && r.block().Trial(); armed != said.Install {
				t.Errorf("armed: %t, and check said %+v", armed, said)
			}
		})
	}
}

func (r *rig) wantForecast(row situationRow, said update.Plan, err error) {
	r.t.Helper()
	if reasonOf(err) != row.reason || exitCode(err) != row.exit || said.Situation != row.situation {
		r.t.Errorf("check said %q, exit code %d, reason %q, want %q, %d, %q: %v",
			said.Situation, exitCode(err), reasonOf(err), row.situation, row.exit, row.reason, err)
	}
	if said.Install != row.install || said.Held != row.held || (said.Remade != "") != row.remade || (len(said.Mends) > 0) != row.mends {
		r.t.Errorf("check said %+v, want %+v", said, row)
	}
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	return exitOf(err)
}
