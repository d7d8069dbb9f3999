// Command mutants takes tufboot's protections out, one at a time, and has the tests
// notice.
//
// There are no switches in the product's code: a mutant is a row of a table, which
// names a piece of a source file and what is put in its place, and the tests that must
// fail then. The changed file is given to the compiler with go's -overlay. A mutant
// that does not compile, and one whose text is not in the file any more, are errors.
//
// A mutant that survives is a protection that nobody needs, or one that nobody tests.
// It exits with 1 if there is one of which the table does not know, and with 2 if
// something could not be tried. docs/reliability.md has the last figures.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"tufboot/internal/docpage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	only := flag.String("only", "", "only mutants whose name or file matches this `REGEXP`")
	jobs := flag.Int("j", 2, "`N` mutants at a time")
	docs := flag.String("docs", "", "write the figures into this `FILE`, between its marks")
	list := flag.Bool("list", false, "list the mutants and run none")
	quick := flag.Bool("quick", false, "leave out those that need the torture: minutes in QEMU each")
	flag.Parse()
	all, err := choose(*only, *quick)
	if err == nil && *list {
		for _, m := range all {
			fmt.Printf("%s (%s)\n\t%s\n", m.name, m.file, m.command())
		}
		return
	}
	code := 2
	if err == nil {
		code, err = run(ctx, all, *jobs, *docs)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
	}
	stop()
	os.Exit(code)
}

func choose(only string, quick bool) ([]mutant, error) {
	match, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(mutants(), func(m mutant) bool {
		return !match.MatchString(m.name) && !match.MatchString(m.file) || quick && m.story != ""
	})
	if len(all) == 0 {
		return nil, fmt.Errorf("no mutant matches %q", only)
	}
	return all, nil
}

// run tries the mutants and returns the exit code.
func run(ctx context.Context, all []mutant, jobs int, docs string) (int, error) {
	begin := time.Now()
	dir, err := os.MkdirTemp("", "tufboot-mutants-")
	if err != nil {
		return 2, err
	}
	defer os.RemoveAll(dir)
	b, err := newWorkshop(ctx, dir, all)
	if err != nil {
		return 2, err
	}
	b.baselines(ctx, all, jobs)
	outcomes := b.tryAll(ctx, all, jobs)
	text := report(outcomes, time.Since(begin))
	fmt.Print(text)
	code := 0
	for _, o := range outcomes {
		if o.wrong() != "" {
			code = max(code, 1)
			fmt.Printf("%s: %s\n", o.name, o.wrong())
		}
		if o.err != nil {
			code = 2
		}
	}
	if docs != "" && code == 0 {
		return code, docpage.Write(docs, "mutants", text)
	}
	return code, nil
}

// newWorkshop builds the torture, if a mutant needs it.
func newWorkshop(ctx context.Context, dir string, all []mutant) (*workshop, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("where is the source: %w", err)
	}
	b := &workshop{root: strings.TrimSpace(string(out)), dir: dir, before: make(map[string]baseline)}
	if !slices.ContainsFunc(all, func(m mutant) bool { return m.story != "" }) {
		return b, nil
	}
	b.torture = dir + "/torture"
	build := exec.CommandContext(ctx, "go", "build", "-o", b.torture, "./torture")
	build.Dir = b.root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the torture: %w: %s", err, out)
	}
	return b, nil
}

// baselines runs all tests that are needed without any mutant.
func (b *workshop) baselines(ctx context.Context, all []mutant, jobs int) {
	var pkgs []string
	for _, m := range all {
		if m.story == "" && !slices.Contains(pkgs, m.pkg) {
			pkgs = append(pkgs, m.pkg)
		}
	}
	runs := make([]baseline, len(pkgs))
	each(len(pkgs), jobs, func(i int) { runs[i] = b.baseline(ctx, pkgs[i], all) })
	for i, pkg := range pkgs {
		b.before[pkg] = runs[i]
	}
}

func (b *workshop) tryAll(ctx context.Context, all []mutant, jobs int) []outcome {
	outcomes := make([]outcome, len(all))
	each(len(all), jobs, func(i int) {
		begin := time.Now()
		o := b.try(ctx, all[i])
		outcomes[i] = o
		said := "noticed by " + o.by
		if o.by == "" {
			said = "survived"
		}
		if o.wrong() != "" {
			said = "WRONG: " + o.wrong()
		}
		fmt.Fprintf(os.Stderr, "%5.1fs %s: %s\n", time.Since(begin).Seconds(), o.name, said)
	})
	return outcomes
}

// each calls do for 0 to n-1, some at a time.
func each(n, jobs int, do func(int)) {
	var workers sync.WaitGroup
	next := make(chan int)
	for range max(jobs, 1) {
		workers.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
}

// report is a table of what was taken out, and what noticed.
func report(outcomes []outcome, took time.Duration) string {
	var rows strings.Builder
	noticed := 0
	for _, o := range outcomes {
		by := o.by
		switch {
		case by != "" && o.story == "":
			by = o.pkg + " " + by
			noticed++
		case by != "":
			noticed++
		case o.survives != "":
			by = "nothing: " + o.survives
		default:
			by = "**nothing**"
		}
		fmt.Fprintf(&rows, "| %s | %s | %s |\n", o.name, o.from, strings.ReplaceAll(by, "|", "\\|"))
	}
	return fmt.Sprintf("%d protections were taken out, one at a time; the tests noticed %d of them. It took %s.\n\n"+
		"| taken out | protects from | noticed by |\n|---|---|---|\n%s", len(outcomes), noticed, took.Round(time.Second), rows.String())
}
