// Command torture cuts a node's power at every write of an update, and looks what is
// left.
//
// A machine in QEMU lives through an update that goes well, and through one that is
// rolled back, while every write and flush that its disk gets is logged. From the
// log the disk is rebuilt as it was after each of them; and as an unflushed write
// cache may have left it, with writes lost, in another order, and torn between
// sectors (seeded, so that each case can be had again). Each disk is judged by
// GRUB's own code: which slot does it boot, counted or not, and is what GRUB reads
// there a whole release? Some are booted whole, and must update themselves.
//
// It exits with 1 if a promise was broken, and with 2 if that could not be tried.
// docs/reliability.md has the last figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"tufboot/e2e/lab"
	"tufboot/e2e/machine"
	"tufboot/internal/docpage"
)

// workshop is one run.
type workshop struct {
	dir        string
	lab        *lab.Lab
	seed       uint64
	draws      int    // per story
	wholes     int    // disks booted whole, per story
	only       string // the one case to try; "": all
	stories    string // which stories; "": all
	overlay    string // for `go build` of the agent
	grubcfg    string // file to boot by; "": what tufboot makes
	recordings map[string]*recording
	chosen     map[string]bool // draws that are booted whole
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	w := &workshop{recordings: make(map[string]*recording), chosen: make(map[string]bool)}
	short := flag.Bool("short", false, "a share of it that takes a few minutes")
	flag.Uint64Var(&w.seed, "seed", 1, "`N` from which the draws come")
	flag.StringVar(&w.only, "case", "", "only this `CASE`, as a failure names it")
	flag.StringVar(&w.stories, "stories", "", "only these stories: `NAMES` with commas between, such as good-bios,bad-bios")
	flag.StringVar(&w.overlay, "overlay", "", "build the agent with `FILE` as go build's -overlay")
	flag.StringVar(&w.grubcfg, "grubcfg", "", "boot by the grub.cfg in `FILE`, which must wait for nobody (Timeout and RebootAfter -1)")
	docs := flag.String("docs", "", "write the figures into this `FILE`, between its markers")
	flag.Parse()
	w.draws, w.wholes = 10_000, 12
	firmwares := []machine.Firmware{machine.BIOS, machine.UEFI}
	if *short {
		w.draws, w.wholes, firmwares = 400, 1, firmwares[:1]
	}
	err := w.run(ctx, firmwares, *docs)
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

func (w *workshop) run(ctx context.Context, firmwares []machine.Firmware, docs string) (err error) {
	if w.dir, err = os.MkdirTemp("", "tufboot-torture-"); err != nil {
		return err
	}
	defer os.RemoveAll(w.dir)
	var flags []string
	if w.overlay != "" {
		if w.overlay, err = filepath.Abs(w.overlay); err != nil { // go build runs elsewhere
			return err
		}
		flags = []string{"-overlay", w.overlay}
	}
	if w.lab, err = lab.New(ctx, w.dir, flags...); err != nil {
		return err
	}
	defer w.lab.Close()
	var rows []string
	broken, tried := 0, 0
	for _, firmware := range firmwares {
		for _, healthy := range []bool{true, false} {
			if !w.tells(storyName(firmware, healthy)) {
				continue
			}
			row, t, err := w.torture(ctx, firmware, healthy)
			if err != nil {
				return err
			}
			rows, broken, tried = append(rows, row), broken+len(t.violations), tried+t.writes+t.draws
			for _, v := range t.violations[:min(len(t.violations), 20)] {
				fmt.Printf("%s: %s: %s (seed %d)\n", v.cut, v.invariant, v.detail, w.seed)
			}
		}
	}
	if tried == 0 {
		return fmt.Errorf("%w: story %q, case %q; give the seed and the share too with which it was drawn", errNoCase, w.stories, w.only)
	}
	table := head + strings.Join(rows, "")
	fmt.Print(table)
	if docs != "" && w.only == "" && w.stories == "" {
		if err := docpage.Write(docs, "torture", fmt.Sprintf("Seed %d.\n\n%s", w.seed, table)); err != nil {
			return err
		}
	}
	if broken > 0 {
		return fmt.Errorf("%d: %w", broken, errBroken)
	}
	return nil
}

const head = "| story | writes | flushes | cuts after each request | lost, torn and reordered | runs of GRUB's programs | booted whole | broken promises | time |\n|---|---|---|---|---|---|---|---|---|\n"

// torture records a story, replays it and returns its row of the table.
func (w *workshop) torture(ctx context.Context, firmware machine.Firmware, healthy bool) (row string, t tally, err error) {
	begin := time.Now()
	r, err := w.record(ctx, firmware, healthy)
	if err != nil {
		return "", t, err
	}
	defer r.file.Close()
	w.recordings[r.name] = r
	third, err := r.repo.GoodRelease(next)
	if err != nil {
		return "", t, err
	}
	if err := r.repo.Publish(ctx, third); err != nil {
		return "", t, err
	}
	w.choose(r)
	fmt.Fprintf(os.Stderr, "%s, recorded in %s\n", r, time.Since(begin).Round(time.Second))
	if t, err = w.replay(ctx, r); err != nil {
		return "", t, err
	}
	writes, flushes := r.count()
	return fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %d | %d | %s |\n", r.name, writes, flushes, t.writes, t.draws, t.judged, t.whole,
		len(t.violations), time.Since(begin).Round(time.Second)), t, nil
}

// tells reports whether a story is to be told.
func (w *workshop) tells(name string) bool {
	return (w.stories == "" || slices.Contains(strings.Split(w.stories, ","), name)) &&
		(w.only == "" || strings.HasPrefix(w.only, name+":"))
}

// choose draws which draws are booted whole.
func (w *workshop) choose(r *recording) {
	rng := rand.New(rand.NewPCG(w.seed, 2)) //nolint:gosec // to be drawn again
	var all []string
	for n, draws := range w.spread(r) {
		for d := 1; d <= draws; d++ {
			all = append(all, cut{story: &r.story, requests: n, draw: d}.String())
		}
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, c := range all[:min(w.wholes, len(all))] {
		w.chosen[c] = true
	}
}

// boots reports whether a case is booted whole.
func (w *workshop) boots(c cut) bool { return w.chosen[c.String()] || w.only != "" }
