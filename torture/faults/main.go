// Command faults runs every test that docs/reliability.md names for a fault, and counts
// their cases. A test that the page names and that does not run is an error, so the page
// cannot promise what is not tried.
//
// It exits with 1 if a test failed or is not there. Tests of whole machines and of deploy/
// have modules and targets of their own, and are not run here.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"tufboot/internal/docpage"
)

// packages are those that are searched for the tests.
func packages() []string {
	return []string{"./agent/...", "./grub", "./image/...", "./metadata/client"}
}

// sections are the parts of the page that name tests.
func sections() []string { return []string{"Faults", "Hangs", "Network", "Attacks"} }

var (
	errMissing = errors.New("the page names tests that there are not")
	errFailed  = errors.New("tests failed")
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	page := flag.String("docs", "docs/reliability.md", "the `PAGE` that names the tests, and gets the figures")
	flag.Parse()
	if err := run(ctx, *page); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, page string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	named := make(map[string][]string)
	var all []string
	for _, section := range sections() {
		named[section] = tests(string(text), section)
		all = append(all, named[section]...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	args := append([]string{"test", "-json", "-count=1", "-timeout=30m", "-run", "^(" + strings.Join(all, "|") + ")$"}, packages()...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	results, err := read(out)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return errors.Join(fmt.Errorf("%w: %s", errFailed, strings.Join(results.failed, ", ")), err)
	}
	for _, test := range all {
		if results.cases[test] == 0 {
			return fmt.Errorf("%w: %s", errMissing, test)
		}
	}
	figures := table(named, results)
	fmt.Print(figures)
	return docpage.Write(page, "faults", figures)
}

// testName matches the name of a test; elsewhere says that those behind it, up to the
// next semicolon, are not in these packages.
var (
	testName  = regexp.MustCompile(`\bTest[A-Z][A-Za-z0-9]*`)
	elsewhere = regexp.MustCompile(`\b(e2e|deploy/test) `)
)

// tests returns the names of the tests in a section of the page, sorted.
func tests(page, section string) []string {
	_, text, _ := strings.Cut(page, "\n## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	var names []string
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ';' || r == '|' || r == '\n' }) {
		if !elsewhere.MatchString(part) {
			names = append(names, testName.FindAllString(part, -1)...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// results is what became of the tests.
type results struct {
	cases  map[string]int // of each test, how many of its subtests that have none passed; 1 for a test without
	failed []string
}

// read reads the events of go test -json (see go doc test2json).
func read(events io.Reader) (results, error) {
	r := results{cases: make(map[string]int)}
	parents, passed := make(map[string]bool), make(map[string]bool)
	for lines := bufio.NewReader(events); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return r, err
		}
		var e struct{ Action, Package, Test string }
		if err := json.Unmarshal(line, &e); err != nil {
			return r, fmt.Errorf("%q: %w", line, err)
		}
		name := e.Package + " " + e.Test
		if at := strings.LastIndex(name, "/"); strings.Contains(e.Test, "/") {
			parents[name[:at]] = true
		}
		switch {
		case e.Test == "":
		case e.Action == "pass":
			passed[name] = true
		case e.Action == "fail", e.Action == "skip":
			r.failed = append(r.failed, name)
		}
	}
	for name := range maps.Keys(passed) {
		if !parents[name] {
			_, test, _ := strings.Cut(name, " ")
			test, _, _ = strings.Cut(test, "/")
			r.cases[test]++
		}
	}
	return r, nil
}

func table(named map[string][]string, r results) string {
	var b strings.Builder
	b.WriteString("| part | tests | cases | failed |\n|---|---|---|---|\n")
	for _, section := range sections() {
		cases := 0
		for _, test := range named[section] {
			cases += r.cases[test]
		}
		fmt.Fprintf(&b, "| %s | %d | %d | 0 |\n", strings.ToLower(section), len(named[section]), cases)
	}
	return b.String()
}
