// Command torture cuts a node's power at every write of an update, and looks what is
// left.
//
// A machine in QEMU lives through an update that goes well, and through one that is
// rolled back, while every write and flush that its disk gets is logged. From the
// log the disk is rebuilt as it was after each of them; and as an unflushed write
// cache may have left it, with writes lost, in another order, and torn between
// sectors (seeded, so that each case can be had again). Each disk is judged by
// GRUB's own code: which slot does it boot, counted or not, and is what GRUB reads
// there a whole release? Then the agent is started on it, as the booted system would
// start it, and what its status says is compared with the truth. On some the agent
// installs the next release, and some are booted whole and must update themselves.
//
// It exits with 1 if a promise was broken, and with 2 if that could not be tried.
// docs/reliability.md has the last figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"tufboot/e2e/lab"
	"tufboot/e2e/machine"
)

// share is how much of it is tried, per story.
type share struct {
	draws   int // cuts with writes lost, torn or in another order
	updates int // cuts after which the next release is installed
	wholes  int // cuts after which the disk is booted whole
}

// The whole of it, and the part that fits into `make test`.
func fullShare() share  { return share{draws: 12_000, updates: 200, wholes: 12} }
func shortShare() share { return share{draws: 400, updates: 8, wholes: 1} }

// workshop is one run.
type workshop struct {
	share
	dir     string // for what ends with the run
	shelf   string // where recordings are kept
	lab     *lab.Lab
	seed    uint64
	workers int
	only    string // the one case to try; "": all
	save    string // copy its disk into this file; "": do not
	stories string // which stories; "": all
	overlay string // for `go build` of the agent
	grubcfg string // file to boot by; "": what tufboot makes

	mu       sync.Mutex
	servers  map[int]*lab.Server // of kept repositories, by port
	machines sync.WaitGroup      // those that run
	places   chan struct{}       // one each for a machine that runs
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	w := &workshop{share: fullShare(), servers: make(map[int]*lab.Server), places: make(chan struct{}, 2)}
	short := flag.Bool("short", false, "a share of it that takes a few minutes")
	flag.Uint64Var(&w.seed, "seed", 1, "`N` from which the draws come")
	flag.StringVar(&w.only, "case", "", "only this `CASE`, as a failure names it")
	flag.StringVar(&w.save, "save", "", "copy the disk of the case that -case names into `FILE`")
	flag.StringVar(&w.stories, "stories", "", "only these stories: `NAMES` with commas between, such as good-bios,bad-bios")
	flag.StringVar(&w.overlay, "overlay", "", "build the agent with `FILE` as go build's -overlay")
	flag.StringVar(&w.grubcfg, "grubcfg", "", "boot by the grub.cfg in `FILE`, which must wait for nobody (Timeout and RebootAfter -1)")
	flag.StringVar(&w.shelf, "recordings", filepath.Join("build", "torture"), "keep recordings in `FOLDER` for some hours, to use them again")
	flag.IntVar(&w.workers, "workers", runtime.NumCPU(), "judge `N` disks at once")
	draws := flag.Int("draws", -1, "lose, reorder and tear writes so `OFTEN` in each story; it decides which cases there are")
	updates := flag.Int("updates", -1, "install the next release on so `MANY` disks of each story")
	wholes := flag.Int("wholes", -1, "boot so `MANY` disks of each story whole")
	docs := flag.String("docs", "", "write the figures into this `FILE`, between its markers")
	flag.Parse()
	firmwares := []machine.Firmware{machine.BIOS, machine.UEFI}
	if *short {
		w.share, firmwares = shortShare(), firmwares[:1]
	}
	for given, to := range map[*int]*int{draws: &w.draws, updates: &w.updates, wholes: &w.wholes} {
		if *given >= 0 {
			*to = *given
		}
	}
	if w.only == "" {
		w.save = ""
	}
	err := ownMounts()
	if err == nil {
		err = w.run(ctx, firmwares, *docs)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		stop()
		if errors.Is(err, errBroken) {
			os.Exit(1)
		}
		os.Exit(2)
	}
}

var (
	errBroken = errors.New("promises were broken")
	errNoCase = errors.New("there is no such case")
)

func (w *workshop) run(ctx context.Context, firmwares []machine.Firmware, docs string) error {
	if err := w.open(ctx); err != nil {
		return err
	}
	defer w.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before close waits for machines
	var tallies []*tally
	for _, r := range w.recordAll(ctx, firmwares) {
		if err := <-r.ready; err != nil {
			return err
		}
		t, err := w.torture(ctx, r)
		if err != nil {
			return err
		}
		tallies = append(tallies, t)
	}
	w.machines.Wait()
	return w.report(tallies, docs)
}

// open makes what all stories share.
func (w *workshop) open(ctx context.Context) (err error) {
	if w.shelf, err = filepath.Abs(w.shelf); err != nil {
		return err
	}
	if err := w.clear(); err != nil {
		return err
	}
	if w.dir, err = os.MkdirTemp("", "tufboot-torture-"); err != nil {
		return err
	}
	var flags []string
	if w.overlay != "" {
		if w.overlay, err = filepath.Abs(w.overlay); err != nil { // go build runs elsewhere
			return err
		}
		flags = []string{"-overlay", w.overlay}
	}
	if w.lab, err = lab.New(ctx, w.dir, flags...); err != nil {
		return errors.Join(err, os.RemoveAll(w.dir))
	}
	return nil
}

func (w *workshop) close() {
	w.machines.Wait()
	w.lab.Close()
	for _, s := range w.servers {
		s.Close()
	}
	_ = os.RemoveAll(w.dir)
}

// recordAll begins to record the stories that are wanted, as many at once as there are
// places for machines, and returns them in their order. Each is ready in its time.
func (w *workshop) recordAll(ctx context.Context, firmwares []machine.Firmware) []*recording {
	var all []*recording
	for _, firmware := range firmwares {
		for _, healthy := range []bool{true, false} {
			if r := newRecording(firmware, healthy); w.tells(r.name) {
				all = append(all, r)
			}
		}
	}
	begin := time.Now()
	w.machines.Go(func() {
		for _, r := range all {
			w.places <- struct{}{}
			w.machines.Go(func() {
				defer func() { <-w.places }()
				err := w.fetch(ctx, r)
				if err == nil {
					fmt.Fprintf(os.Stderr, "%s, after %s\n", r, time.Since(begin).Round(time.Second))
				}
				r.ready <- err
			})
		}
	})
	return all
}

// tells reports whether a story is to be told.
func (w *workshop) tells(name string) bool {
	return (w.stories == "" || slices.Contains(strings.Split(w.stories, ","), name)) &&
		(w.only == "" || strings.HasPrefix(w.only, name+":"))
}
