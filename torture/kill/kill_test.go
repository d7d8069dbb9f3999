//go:build linux && amd64

package kill

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tufboot/internal/docpage"
	"tufboot/torture/kill/trace"
)

var (
	all    = flag.Bool("all", false, "kill at every call, and not only at some of them")
	only   = flag.String("case", "", "try this `CASE` alone, as a failure names it: STORY:N:before or STORY:N:after")
	seed   = flag.Uint64("seed", 1, "`N` from which it comes at which calls it is killed")
	docs   = flag.String("docs", "", "write the figures into this `FILE`, between its markers")
	stride = flag.Int("stride", 20, "kill at every `N`th call")
	nodes  = flag.Int("nodes", max(2, runtime.NumCPU()), "`N` of them are killed at a time")
)

// scratch is a folder in memory: what reaches a device is none of these tests' business.
func scratch(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test attaches a loop device and traces programs that mount file systems: run it as root (`make unit` uses sudo)")
	}
	if _, err := os.Stat("/dev/shm"); err != nil {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "tufboot-kill-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// row is a line of the figures.
type row struct {
	story                string
	calls, kills, broken int
	took                 time.Duration
}

// TestEverySystemCall kills the agent and repo-tool. See the package comment.
func TestEverySystemCall(t *testing.T) {
	dir := scratch(t)
	w, err := newWorld(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	var machines []*node
	for i := range *nodes {
		n, err := newNode(w, filepath.Join(dir, fmt.Sprintf("node%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.close)
		machines = append(machines, n)
	}
	runtime.LockOSThread() // see trace.Run
	defer runtime.UnlockOSThread()
	stories, err := tell(machines[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Run("bad-nodes", func(t *testing.T) { findsBadNodes(t, machines[0], stories) })
	var rows []row
	for _, s := range stories {
		var tries []func(trace.Point) (bool, error)
		for _, n := range machines {
			tries = append(tries, func(at trace.Point) (bool, error) { return n.try(s, at) })
		}
		t.Run(s.name, func(t *testing.T) { rows = append(rows, killAll(t, s.name, s.calls, tries)) })
	}
	var presses []*press
	for i := range machines {
		presses = append(presses, &press{w, filepath.Join(dir, fmt.Sprintf("press%d", i))})
	}
	editions, err := presses[0].editions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range editions {
		var tries []func(trace.Point) (bool, error)
		for _, p := range presses {
			tries = append(tries, func(at trace.Point) (bool, error) { return p.try(t.Context(), e, at) })
		}
		t.Run(e.name, func(t *testing.T) { rows = append(rows, killAll(t, e.name, e.calls, tries)) })
	}
	if *docs != "" && *only == "" {
		if err := docpage.Write(*docs, "kill", table(rows)); err != nil {
			t.Error(err)
		}
	}
}

func table(rows []row) string {
	var b strings.Builder
	share := "Every call"
	if !*all {
		share = fmt.Sprintf("A share, seed %d: every call whose number is in steps of %d, or of less in short runs", *seed, *stride)
	}
	fmt.Fprintf(&b, "%s.\n\n", share)
	b.WriteString("| run | calls that change something | kills | broken promises | time |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %s |\n", r.story, r.calls, r.kills, r.broken, r.took.Round(time.Second))
	}
	return b.String()
}

// killAll kills a program at the points that are wanted, before and after each call.
// Several do that at a time; each has its own place to do it.
func killAll(t *testing.T, name string, calls int, tries []func(trace.Point) (bool, error)) row {
	begin := time.Now()
	points := make(chan trace.Point)
	ended := make(chan struct{})
	var once, mu sync.Mutex
	var group sync.WaitGroup
	r := row{story: name, calls: calls}
	stop := false
	for _, try := range tries {
		group.Go(func() {
			// The tracer waits for whatever this thread has started.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for at := range points {
				over, err := try(at)
				mu.Lock()
				switch {
				case err != nil:
					r.broken++
					t.Errorf("%v (again: -case %s:%s)", err, name, at)
				case !over:
					r.kills++
				}
				mu.Unlock()
				once.Lock()
				if over && !stop {
					stop = true
					close(ended)
				}
				once.Unlock()
			}
		})
	}
	feed(t, name, calls, points, ended)
	close(points)
	group.Wait()
	r.took = time.Since(begin)
	t.Logf("%d kills", r.kills)
	if r.kills == 0 && (*only == "" || strings.HasPrefix(*only, name+":")) {
		t.Error("nothing was killed")
	}
	return r
}

// feed sends the points that are wanted, until a run has ended before its point. Of a
// short run there are some too.
func feed(t *testing.T, name string, calls int, points chan<- trace.Point, ended <-chan struct{}) {
	if *only != "" {
		if story, at := pointOf(t, *only); story == name {
			points <- at
		}
		return
	}
	first, step := 1, 1
	if !*all {
		step = max(min(*stride, calls/4), 1)
		if testing.Short() {
			step = max(calls, 1)
		}
		first += rand.New(rand.NewPCG(*seed, uint64(len(name)))).IntN(step)
	}
	for n := first; ; n += step {
		for _, after := range []bool{false, true} {
			select {
			case points <- trace.Point{N: n, After: after}:
			case <-ended:
				return
			}
		}
	}
}

// pointOf reads what -case is given.
func pointOf(t *testing.T, s string) (story string, at trace.Point) {
	t.Helper()
	parts := strings.Split(s, ":")
	if len(parts) == 3 {
		n, err := strconv.Atoi(parts[1])
		if at = (trace.Point{N: n, After: parts[2] == "after"}); err == nil && n > 0 && (at.After || parts[2] == "before") {
			return parts[0], at
		}
	}
	t.Fatalf("-case %q is not STORY:N:before or STORY:N:after", s)
	return "", at
}
