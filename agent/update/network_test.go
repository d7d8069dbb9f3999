package update_test

import (
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tufboot/agent/update"
	"tufboot/grub"
	"tufboot/internal/faultproxy"
	"tufboot/metadata"
	"tufboot/metadata/client"
)

// weather is a row of the table of what a network can do: the fault, and what an
// update makes of it.
type weather struct {
	name  string
	fault faultproxy.Fault
	// exit and reason are of the update under the fault; exit 0: it succeeds all
	// the same.
	exit   int
	reason string
	// more is what the fault may cost at most in bytes, besides what an update
	// costs anyway: of both runs together, this one and the one after the fault.
	more int64
	// time is how long the run under the fault may take, by the fake clock.
	time time.Duration
}

// Patience: five requests, each given up after half a minute, and the pauses
// between them.
const (
	atOnce   = time.Second
	oneStall = 31 * time.Second
	patience = 5*30*time.Second + 8*time.Second
)

// Parts of addresses. The artifacts are one that is fetched whole (the kernel), and
// one that is put together from parts (the initramfs).
const (
	anything  = "/"
	timestamp = "/timestamp.json"
	kernel    = ".vmlinuz"
	initramfs = ".initramfs"
	chunkMap  = ".chunks"
)

// probe is the range of a request that only asks whether a file is there. What is
// done to a file or its parts is not done to that; "probes" are rows of their own.
const probe = "bytes=0-0"

// portal is a host that answers everything with a login page; mirror one that has
// the repository too.
const (
	portal = "http://login.hotel.example/"
	mirror = "http://mirror.example"
)

func networks() []weather {
	times := faultproxy.Times
	on := func(part string, f faultproxy.Fault) faultproxy.Fault {
		return faultproxy.On(part, func(c *faultproxy.Conn, req *http.Request, a faultproxy.Answer) {
			if req.Header.Get("Range") == probe && part != anything {
				c.Answer(a)
				return
			}
			f(c, req, a)
		})
	}
	const (
		k      = kernelSize
		buffer = 512 << 10 // that much may have come before it is looked at
	)
	return []weather{
		{"fair", nil, 0, "", 0, atOnce},

		{"silence", on(anything, faultproxy.Silence), 1, client.ReasonStalled, 64 << 10, patience},
		{"metadata stalls", on(timestamp, faultproxy.Stall(100)), 1, client.ReasonStalled, 64 << 10, patience},
		{"metadata drips", on(timestamp, faultproxy.Drip(1, time.Second)), 1, client.ReasonStalled, 64 << 10, patience},
		{"a file stalls once", on(kernel, times(1, faultproxy.Stall(k/2))), 0, "", 4 << 10, oneStall},
		{"a part stalls once", on(initramfs, times(1, faultproxy.Stall(10_000))), 0, "", 4 << 10, 2 * oneStall},
		{"a file stalls without progress", on(kernel, faultproxy.Stall(0)), 1, client.ReasonStalled, 64 << 10, patience},
		{"a file drips", on(kernel, faultproxy.Drip(10, time.Second)), 1, client.ReasonStalled, 64 << 10, patience},
		{"parts drip", on(initramfs, faultproxy.Drip(10, time.Second)), 1, client.ReasonStalled, 64 << 10, 2 * patience},
		{"a file trickles", on(kernel, faultproxy.Drip(2048, 10*time.Second)), 0, "", 4 << 10, k / 2048 * 11 * time.Second},

		{"reset at once", on(anything, faultproxy.Reset(0)), 1, client.ReasonStalled, 64 << 10, 10 * time.Second},
		{"a file is reset after each 70 KiB", on(kernel, faultproxy.Reset(70<<10)), 0, "", 16 << 10, 10 * time.Second},
		{"a file is reset after each kilobyte", on(kernel, faultproxy.Reset(1<<10)), 1, client.ReasonStalled, 64 << 10, 10 * time.Second},
		{"parts are reset after each 20 KiB", on(initramfs, faultproxy.Reset(20<<10)), 0, "", 64 << 10, time.Minute},
		{"parts are reset once", on(initramfs, times(3, faultproxy.Reset(1<<10))), 0, "", 16 << 10, 10 * time.Second},

		{"metadata is said to be shorter", on(timestamp, faultproxy.Length(-1)), 4, client.ReasonMalformed, 64 << 10, atOnce},
		{"metadata is said to be longer", on(timestamp, faultproxy.Length(+1)), 1, client.ReasonStalled, 64 << 10, 10 * time.Second},
		{"a file is said to be shorter", on(kernel, faultproxy.Length(-1)), 4, client.ReasonBadLength, 64 << 10, atOnce},
		{"a file is said to be longer", on(kernel, faultproxy.Length(+1)), 4, client.ReasonBadLength, 64 << 10, atOnce},
		{"parts are said to be shorter", on(initramfs, faultproxy.Length(-1)), 4, client.ReasonBadLength, 64 << 10, 10 * time.Second},
		{"parts are said to be longer", on(initramfs, faultproxy.Length(+1)), 4, client.ReasonBadLength, 64 << 10, 10 * time.Second},
		{"a file ends early", on(kernel, faultproxy.Cut(k-1)), 0, "", 4 << 10, 10 * time.Second},
		{"parts end early", on(initramfs, times(2, faultproxy.Cut(5000))), 0, "", 16 << 10, 10 * time.Second},
		{"everything is empty", on(anything, faultproxy.Cut(0)), 4, client.ReasonMalformed, 64 << 10, atOnce},

		{"ranges are ignored", on(initramfs, faultproxy.IgnoreRange), 0, "", initramfsSize, 10 * time.Second},
		{"ranges are wrong", on(initramfs, faultproxy.MoveRange(+1)), 0, "", initramfsSize, 10 * time.Second},
		{"a part is called the whole", on(initramfs, faultproxy.WholeFor206), 0, "", initramfsSize, 10 * time.Second},

		{"compressed on the way", on(anything, faultproxy.Gzip(true)), 1, client.ReasonServerError, 64 << 10, atOnce},
		{"compressed in silence", on(anything, faultproxy.Gzip(false)), 4, client.ReasonMalformed, 64 << 10, atOnce},
		{"a file is compressed in silence", on(kernel, faultproxy.Gzip(false)), 4, client.ReasonBadLength, 2 * k, atOnce},
		{"a file has other bytes", on(kernel, faultproxy.OtherBytes), 4, client.ReasonBadHash, k, atOnce},
		{"parts have other bytes", on(initramfs, faultproxy.OtherBytes), 4, client.ReasonBadHash, 2 * initramfsSize, 10 * time.Second},
		{"the map has other bytes", on(chunkMap, faultproxy.OtherBytes), 0, "", initramfsSize, atOnce},
		{"the map is endless", on(chunkMap, faultproxy.Endless), 0, "", initramfsSize + 64<<10, atOnce},

		{"redirected to another host", redirectTo(mirror), 0, "", 32 << 10, atOnce},
		{"redirected in a circle", on(anything, faultproxy.Redirect("http://repo.example")), 1, client.ReasonServerError, 64 << 10, atOnce},
		{"redirected to another scheme", on(anything, faultproxy.Redirect("ftp://repo.example")), 1, client.ReasonServerError, 64 << 10, atOnce},
		{"captive portal", on(anything, faultproxy.Portal), 4, client.ReasonMalformed, 64 << 10, atOnce},
		{"captive portal by redirect", redirectTo(portal), 4, client.ReasonMalformed, 64 << 10, atOnce},
		{"captive portal that says so", on(anything, faultproxy.Status(511, nil)), 1, client.ReasonServerError, 64 << 10, atOnce},
		{"captive portal for a file", on(kernel, faultproxy.Portal), 4, client.ReasonBadLength, 64 << 10, atOnce},
		{"captive portal for parts", on(initramfs, faultproxy.Portal), 4, client.ReasonBadLength, 64 << 10, 10 * time.Second},

		{"endless metadata", on(timestamp, faultproxy.Endless), 4, client.ReasonBadLength, 64 << 10, atOnce},
		{"an endless file", on(kernel, faultproxy.Endless), 4, client.ReasonBadLength, k + buffer, atOnce},
		{"endless parts", on(initramfs, faultproxy.Endless), 4, client.ReasonBadLength, initramfsSize + buffer, 10 * time.Second},

		{"overloaded", on(anything, faultproxy.Status(503, nil)), 1, client.ReasonServerError, 64 << 10, 10 * time.Second},
		{"overloaded for long", on(anything, faultproxy.Status(503, http.Header{"Retry-After": {"86400"}})), 1, client.ReasonServerError, 64 << 10, 3 * time.Minute},
		{"overloaded for a while", on(kernel, times(2, faultproxy.Status(503, http.Header{"Retry-After": {"5"}}))), 0, "", 4 << 10, 20 * time.Second},
		{"forbidden", on(timestamp, faultproxy.Status(403, nil)), 1, client.ReasonServerError, 64 << 10, atOnce},
		{"a file is not there", faultproxy.On(kernel, faultproxy.Status(404, nil)), 1, client.ReasonServerError, 64 << 10, atOnce},
		{"a file is not there any more", on(kernel, faultproxy.Status(404, nil)), 1, client.ReasonServerError, 64 << 10, atOnce},

		{"probes stall", onProbe(faultproxy.Silence), 1, client.ReasonStalled, 8 << 10, patience},
		{"probes are reset", onProbe(hangUp), 1, client.ReasonUnreachable, 8 << 10, 10 * time.Second},
		{"probes are reset once", onProbe(times(2, hangUp)), 0, "", 4 << 10, 10 * time.Second},
		{"probes are reset after the head", onProbe(faultproxy.Reset(0)), 0, "", 4 << 10, atOnce},
		{"probes get all", onProbe(faultproxy.IgnoreRange), 0, "", initramfsSize, atOnce},
		{"probes get another part", onProbe(faultproxy.MoveRange(+1)), 0, "", initramfsSize, atOnce},
		{"probes get what is called the whole", onProbe(faultproxy.WholeFor206), 0, "", initramfsSize, atOnce},
		{"probes are not allowed", onProbe(faultproxy.Status(405, nil)), 0, "", initramfsSize, atOnce},
		{"probes are overloaded", onProbe(times(2, faultproxy.Status(503, http.Header{"Retry-After": {"5"}}))), 0, "", 4 << 10, 20 * time.Second},
		{"captive portal for probes", onProbe(faultproxy.Portal), 0, "", initramfsSize, atOnce},
		{"a proxy wants a password", on(anything, faultproxy.Status(407, nil)), 1, client.ReasonServerError, 64 << 10, atOnce},
	}
}

// onProbe spoils only what the server is asked for before an update begins.
func onProbe(f faultproxy.Fault) faultproxy.Fault {
	return func(c *faultproxy.Conn, req *http.Request, a faultproxy.Answer) {
		if req.Header.Get("Range") != probe {
			c.Answer(a)
			return
		}
		f(c, req, a)
	}
}

// hangUp resets the connection in place of an answer.
func hangUp(c *faultproxy.Conn, _ *http.Request, _ faultproxy.Answer) { c.Reset() }

// redirectTo sends a client from the repository's host to another one, which
// serves the repository, or is a portal.
func redirectTo(other string) faultproxy.Fault {
	return func(c *faultproxy.Conn, req *http.Request, a faultproxy.Answer) {
		switch {
		case req.Host == "repo.example":
			faultproxy.Redirect(other)(c, req, a)
		case other == portal:
			faultproxy.Portal(c, req, a)
		default:
			c.Answer(a)
		}
	}
}

// TestNetwork runs an update under every fault of the network, and then one
// without. Whatever the fault, the booted slot is not touched, only what is right
// is armed, time and traffic are bounded, and the next run completes what is left.
func TestNetwork(t *testing.T) {
	r := newRig(t)
	// What an update costs in fair weather, metadata included.
	var fair int64
	for i, w := range networks() {
		ok := t.Run(w.name, func(t *testing.T) {
			r.t = t
			version := fmt.Sprint(i + 2)
			r.publishData(version, payload(version, metadata.KernelFile, kernelSize), changed(version))
			sent := r.through(w, version)
			if w.fault == nil {
				fair = sent
			}
			if most := fair + w.more + 8<<10 + int64(i)<<11; sent > most { // the metadata grows
				t.Errorf("%d bytes came, want at most %d", sent, most)
			}
			r.trial()
		})
		if !ok {
			t.Fatal("the node is not as the next row needs it")
		}
	}
}

// trial boots what is armed, and marks it good.
func (r *rig) trial() {
	r.t.Helper()
	armed := r.block().Active
	if slot := r.reboot(); slot != armed || r.booted.Try != 1 {
		r.t.Fatalf("booted %+v, want the trial of slot %s", r.booted, armed)
	}
	if _, err := r.gate(true); err != nil {
		r.t.Fatal(err)
	}
}

// through updates to a release under a fault, then without it if it failed, and
// returns how many bytes came. Time is fake.
func (r *rig) through(w weather, version string) (sent int64) {
	r.t.Helper()
	booted := r.booted.Slot
	before := r.slotHash(booted)
	outer := r.t
	defer func() { r.t, r.transport = outer, nil }()
	synctest.Test(r.t, func(t *testing.T) {
		r.t = t
		p := faultproxy.New(r.server.Config.Handler)
		transport := p.Transport()
		r.transport = transport
		p.Spoil(w.fault)
		began := time.Now()
		_, err := r.node().Update(t.Context(), "")
		took := time.Since(began)
		transport.CloseIdleConnections()
		var more int64
		_, sent = p.Taken()
		r.wantOutcome(w, booted, err)
		if took > w.time {
			t.Errorf("it took %v, want at most %v", took, w.time)
		}
		if p.Spoil(nil); err != nil {
			r.update()
			_, more = p.Taken()
		}
		sent += more
		transport.CloseIdleConnections()
		p.Close()
	})
	r.t = outer
	if r.slotHash(booted) != before {
		r.t.Error("the booted slot was written")
	}
	r.wantFile(booted.Other(), metadata.KernelFile, payload(version, metadata.KernelFile, kernelSize))
	r.wantFile(booted.Other(), metadata.InitramfsFile, changed(version))
	return sent
}

// wantOutcome checks what the run under the fault said and left.
func (r *rig) wantOutcome(w weather, booted grub.Slot, err error) {
	r.t.Helper()
	if w.exit == 0 {
		must(r.t, err)
		return
	}
	if err == nil {
		r.t.Fatal("the update succeeded")
	}
	if exitOf(err) != w.exit || reasonOf(err) != w.reason {
		r.t.Errorf("exit code %d, reason %q, want %d, %q: %v", exitOf(err), reasonOf(err), w.exit, w.reason, err)
	}
	if b := r.block(); b.Trial() || b.Active != booted || !b.OK(booted) {
		r.t.Errorf("after a failed update the block is %+v", b)
	}
	st, err := r.node().Status()
	must(r.t, err)
	if st.Situation != update.SituationCommitted || st.LastCheck == nil || st.LastCheck.Reason != w.reason {
		r.t.Errorf("status says %s, last check %+v", st.Situation, st.LastCheck)
	}
}

// TestResumeOverRestarts has every connection cut off after some bytes, and the
// agent started anew after each failure, as a scheduler does: the download goes on
// from where it stopped, until it is complete. Nothing is fetched twice but what was
// on its way.
func TestResumeOverRestarts(t *testing.T) {
	for name, noDelta := range map[string]bool{"whole files": true, "delta": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.publishData("2", payload("2", metadata.KernelFile, kernelSize), changed("2"))
			var fair, sent int64
			runs := 0
			synctest.Test(t, func(t *testing.T) {
				r.t = t
				fair = r.trickled(noDelta, 1<<40, &runs)
				must(t, os.RemoveAll(r.state))
				r.eraseSlot(grub.SlotB)
				sent = r.trickled(noDelta, fair/6, &runs)
			})
			r.t = t
			if runs < 6 {
				t.Errorf("complete after %d runs: nothing was cut off", runs)
			}
			if most := fair + int64(runs)*(64<<10); sent > most {
				t.Errorf("%d bytes came in %d runs, want at most %d", sent, runs, most)
			}
			r.wantFile(grub.SlotB, metadata.InitramfsFile, changed("2"))
		})
	}
}

// trickled updates, each run being cut off after so many bytes of files, until it is
// done. It returns how many bytes came.
func (r *rig) trickled(noDelta bool, step int64, runs *int) (sent int64) {
	r.t.Helper()
	p := faultproxy.New(r.server.Config.Handler)
	defer p.Close()
	for *runs = 1; *runs < 40; *runs++ {
		var left atomic.Int64
		left.Store(step)
		p.Spoil(faultproxy.On("/releases/", func(c *faultproxy.Conn, req *http.Request, a faultproxy.Answer) {
			size := int64(len(a.Body))
			if rest := left.Add(-size); rest < 0 {
				faultproxy.Reset(int(max(rest+size, 0)))(c, req, a)
				return
			}
			c.Answer(a)
		}))
		transport := p.Transport()
		r.transport = transport
		n := r.node()
		n.NoDelta = noDelta
		_, err := n.Apply(r.t.Context(), "")
		transport.CloseIdleConnections()
		_, more := p.Taken()
		sent += more
		if err == nil {
			break
		}
		if reasonOf(err) != client.ReasonStalled {
			r.t.Fatalf("run %d: %v", *runs, err)
		}
		if b := r.block(); b.Trial() || b.OK(grub.SlotB) {
			r.t.Fatalf("a half-written slot in block %+v", b)
		}
	}
	r.transport = nil
	return sent
}

// eraseSlot gives a slot an empty file system.
func (r *rig) eraseSlot(slot grub.Slot) {
	r.t.Helper()
	part := map[grub.Slot]string{grub.SlotA: "p2", grub.SlotB: "p3"}[slot]
	r.run("mke2fs", "-q", "-F", "-t", "ext4", "-L", "SYSTEM-"+string(slot), r.loop+part)
}
