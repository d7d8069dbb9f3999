// Command bench measures what an update costs, beside what others take for the
// same job, on a real slot (an ext4 partition of a loop device) with a real
// server, fast and slow; what checks cost a server with a whole fleet; and what
// repo-tool's commands cost. It wants root, and what scripts/deps installs for it
// (`make bench`). It prints tables in Markdown and writes them into
// docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"tufboot/internal/docpage"
)

func main() {
	var b bench
	flag.StringVar(&b.bin, "bin", "bin", "folder with agent and repo-tool")
	flag.StringVar(&b.tools, "tools", "build/bench-tools", "folder with bare and desync")
	flag.StringVar(&b.cache, "cache", "build/bench", "folder for Debian's packages and what is made of them; kept")
	flag.StringVar(&b.docs, "docs", "docs", "folder with benchmarks.md, whose marked parts are written; \"\" for none")
	flag.IntVar(&b.rounds, "rounds", 3, "rounds; medians are printed")
	only := flag.String("only", "", "sections to run, with commas between: "+strings.Join(sectionNames(), ","))
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	names := sectionNames()
	if *only != "" {
		names = strings.Split(*only, ",")
	}
	// What is published here is of the right size, and boots nothing.
	err := os.Setenv("REPO_TOOL_UNSAFE_ANY_INITRAMFS", "1")
	if err == nil {
		err = b.run(ctx, names)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run of this program.
type bench struct {
	bin, tools, cache, docs string
	rounds                  int

	dir      string // of this run, removed at the end
	releases []release
	arena    *arena
	lab      *lab
	figures  figures
}

// figures are what later sections calculate with.
type figures struct {
	full, delta cost          // of the agent: a full update; the small delta, on the slow node
	payload     int64         // bytes of that full update
	serverPerGB time.Duration // processor time of the server for 1 GB sent
}

// section is a part of docs/benchmarks.md.
type section struct {
	name string
	run  func(*bench, context.Context) (string, error)
}

func sections() []section {
	return []section{
		{"full", (*bench).full}, {"delta", (*bench).delta}, {"packing", (*bench).packing},
		{"manners", (*bench).manners}, {"fleet", (*bench).fleet},
		{"sizes", (*bench).sizes}, {"publish", (*bench).publishing}, {"repository", (*bench).repositories},
		{"micro", (*bench).micro}, {"machine", (*bench).machine},
	}
}

func sectionNames() (names []string) {
	for _, s := range sections() {
		names = append(names, s.name)
	}
	return names
}

func (b *bench) run(ctx context.Context, names []string) error {
	for _, name := range names {
		if !slices.Contains(sectionNames(), name) {
			return fmt.Errorf("there is no section %q: %s", name, strings.Join(sectionNames(), ", "))
		}
	}
	for _, dir := range []*string{&b.bin, &b.tools, &b.cache} {
		absolute, err := filepath.Abs(*dir)
		if err != nil {
			return err
		}
		*dir = absolute
	}
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return err
	}
	var err error
	// Beside the cache: on a disk, and where hard links to it work.
	if b.dir, err = os.MkdirTemp(b.cache, "run-"); err != nil {
		return err
	}
	defer b.close()
	for _, s := range sections() {
		if !slices.Contains(names, s.name) {
			continue
		}
		start := time.Now()
		text, err := s.run(b, ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, errors.Join(ctx.Err(), err))
		}
		fmt.Printf("\n## %s (%s)\n\n%s", s.name, time.Since(start).Round(time.Second), text)
		if b.docs != "" {
			if err := docpage.Write(filepath.Join(b.docs, "benchmarks.md"), "bench:"+s.name, text); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) close() {
	if b.arena != nil {
		b.arena.close()
	}
	if b.lab != nil {
		b.lab.close()
	}
	os.RemoveAll(b.dir)
}

// open makes the arena when a section first needs it.
func (b *bench) open(ctx context.Context) (err error) {
	if b.arena != nil {
		return nil
	}
	if b.releases, err = workload(ctx, b.cache); err != nil {
		return err
	}
	b.arena, err = newArena(ctx, b.bin, b.tools, filepath.Join(b.dir, "arena"), b.releases)
	return err
}

// openLab makes the lab when a section first needs it.
func (b *bench) openLab(ctx context.Context) (err error) {
	if b.lab != nil {
		return nil
	}
	dir := filepath.Join(b.dir, "lab")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b.lab, err = newLab(ctx, b.bin, dir)
	return err
}
