package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// mannersLimit is the bandwidth limit that is shown, in bytes a second.
const mannersLimit = 20 * mb

// manner is a way to update while the node works.
type manner struct {
	name  string
	flags string // of the agent
}

var (
	noUpdate = manner{name: "no update"}
	urgent   = manner{"priority: normal", "--config $WORK/urgent.yaml"}
	yielding = manner{name: "priority: low"}
	slowly   = manner{fmt.Sprintf("low, %d MB/s", mannersLimit/mb), fmt.Sprintf("--bandwidth-limit %dMB/s", mannersLimit/mb)}
)

// disturbed is a node's work while it was updated in one manner.
type disturbed struct {
	took map[string][]time.Duration // by worker
	runs []cost
	over time.Duration // in which the work was looked at
}

// manners shows what a node's real work feels of an update.
func (b *bench) manners(ctx context.Context) (string, error) {
	if err := b.open(ctx); err != nil {
		return "", err
	}
	if err := os.WriteFile(b.arena.at("urgent.yaml"), []byte("priority: normal\n"), 0o644); err != nil {
		return "", err
	}
	// So that Go does not let the workers wait for each other.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * runtime.NumCPU()))
	disk, besideDisk, err := b.diskManners(ctx)
	if err != nil {
		return "", err
	}
	processor, besideProcessor, err := b.processorManners(ctx)
	return disk + "\n" + processor + fmt.Sprintf("\nWith a limit of %.1f MB/s, %s came in %s beside work on the fast disk (%.1f MB/s), and in %s beside work on the processors (%.1f MB/s).\n",
		float64(mannersLimit)/mb, megabytes(besideDisk.network), seconds(besideDisk.wall), besideDisk.rate(), seconds(besideProcessor.wall), besideProcessor.rate()), err
}

// rate is how fast it came from the network, in MB a second.
func (c cost) rate() float64 { return float64(c.network) / c.wall.Seconds() / mb }

// diskManners is the table of what the disk's other users feel, and the first
// update with a limit. The scheduler can be set for the node's disk; below it is the
// machine's own.
func (b *bench) diskManners(ctx context.Context) (text string, limited cost, err error) {
	var t table
	t.add("disk", "scheduler", "beside the work", "it took", "write + fdatasync, median", "99 %", "read, median", "99 %")
	was := scheduler(b.arena.node.loop)
	for _, setup := range []struct {
		name, scheduler string
		where           setting
		ways            []manner
	}{
		{"fast", "none", fastNode, []manner{noUpdate, urgent, yielding, slowly}},
		{"fast", "bfq", fastNode, []manner{noUpdate, urgent, yielding, slowly}},
		{fmt.Sprintf("%d MB/s", slowDisk/mb), "none", setting{slowDisk: true}, []manner{noUpdate, yielding, slowly}},
	} {
		if err := setScheduler(b.arena.node.loop, setup.scheduler); err != nil {
			t.add(setup.name, setup.scheduler, "this kernel has it not", "", "", "", "", "")
			continue
		}
		results, err := b.beside(ctx, setup.where, setup.ways, func() ([]*worker, error) { return newDiskWorkers(b.arena.node.data()) })
		if err := errors.Join(err, setScheduler(b.arena.node.loop, was)); err != nil {
			return "", limited, err
		}
		if limited.wall == 0 {
			limited = middle(results[len(results)-1].runs)
		}
		for i, way := range setup.ways {
			r := results[i]
			t.add(setup.name, setup.scheduler, way.name, r.wall(), micros(quantile(r.took[syncedWrites], 0.5)), micros(quantile(r.took[syncedWrites], 0.99)),
				micros(quantile(r.took[randomReads], 0.5)), micros(quantile(r.took[randomReads], 0.99)))
		}
	}
	return t.String(), limited, nil
}

// processorManners is the table of what the processor's other users feel, and the
// update with a limit.
func (b *bench) processorManners(ctx context.Context) (text string, limited cost, err error) {
	ways := []manner{noUpdate, urgent, yielding, slowly}
	results, err := b.beside(ctx, fastNode, ways, func() ([]*worker, error) { return newProcessorWorkers(), nil })
	if err != nil {
		return "", limited, err
	}
	rate := func(r disturbed) float64 { return float64(len(r.took[hashing])) / r.over.Seconds() }
	var t table
	t.add("beside the work", "it took", "work done", "a piece of it, median", "99 %")
	for i, r := range results {
		t.add(ways[i].name, r.wall(), fmt.Sprintf("%.0f %%", rate(r)/rate(results[0])*100),
			micros(quantile(r.took[hashing], 0.5)), micros(quantile(r.took[hashing], 0.99)))
	}
	return t.String(), middle(results[len(results)-1].runs), nil
}

// beside updates the node in each manner in turn, while it works.
func (b *bench) beside(ctx context.Context, where setting, ways []manner, work func() ([]*worker, error)) ([]disturbed, error) {
	results := make([]disturbed, len(ways))
	for range b.rounds {
		for i, way := range ways {
			if err := b.arena.disturb(ctx, way, where, work, &results[i]); err != nil {
				return nil, fmt.Errorf("%s: %w", way.name, err)
			}
		}
	}
	return results, nil
}

// undisturbed is for how long the work is looked at where nothing else runs.
const undisturbed = 2 * time.Second

// disturb lets the node work, and updates it meanwhile from an empty slot.
func (a *arena) disturb(ctx context.Context, way manner, where setting, work func() ([]*worker, error), into *disturbed) (err error) {
	to := payloadID(2, recommended())
	if err := errors.Join(a.hold(ctx, ""), a.node.reset(ctx), warm(a.www("tufboot"))); err != nil {
		return err
	}
	if where.slowDisk {
		if err := a.node.throttle(slowDisk); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, a.node.throttle(0)) }()
	}
	workers, err := work()
	if err != nil {
		return err
	}
	l := startLoad(workers...)
	time.Sleep(undisturbed / 4)
	run := cost{began: time.Now(), wall: undisturbed}
	if way == noUpdate {
		time.Sleep(undisturbed)
	} else {
		p := agentPeer
		p.update += " " + way.flags
		run, err = a.timed(ctx, p, "", to, a.fast)
	}
	if err := errors.Join(err, l.stop()); err != nil {
		return err
	}
	if into.took == nil {
		into.took = make(map[string][]time.Duration)
	}
	for name, took := range l.within(run.began, run.began.Add(run.wall)) {
		into.took[name] = append(into.took[name], took...)
	}
	into.over += run.wall
	if way != noUpdate {
		into.runs = append(into.runs, run)
		return a.node.check(ctx, a.payloads[to])
	}
	return nil
}

// wall is how long the update took.
func (d disturbed) wall() string {
	if len(d.runs) == 0 {
		return ""
	}
	return seconds(middle(d.runs).wall)
}

func micros(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%d µs", d.Microseconds())
	}
	return fmt.Sprintf("%.0f ms", ms(d))
}

// queue is the file that says, and sets, which scheduler a disk has.
func queue(device string) string {
	return filepath.Join("/sys/class/block", filepath.Base(device), "queue/scheduler")
}

// scheduler returns the scheduler of a disk: the one in brackets.
func scheduler(device string) string {
	data, err := os.ReadFile(queue(device))
	if err != nil {
		return "none"
	}
	_, rest, _ := strings.Cut(string(data), "[")
	name, _, _ := strings.Cut(rest, "]")
	return name
}

func setScheduler(device, name string) error {
	return os.WriteFile(queue(device), []byte(name), 0)
}
