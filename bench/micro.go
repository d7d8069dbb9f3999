package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// microFile is what `make microbench` leaves among the tools: the output of go
// test -bench, for benchstat and for the table.
const microFile = "micro.txt"

// micro makes a table of the Go benchmarks.
func (b *bench) micro(context.Context) (string, error) {
	data, err := os.ReadFile(filepath.Join(b.tools, microFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: run make microbench", err)
	}
	if err != nil {
		return "", err
	}
	var t table
	t.add("package", "benchmark", "one", "MB/s", "allocations")
	rows := parseMicro(string(data))
	for _, r := range rows {
		rate := ""
		if v := middleValue(r.values["MB/s"]); v > 0 {
			rate = fmt.Sprintf("%.0f", v)
		}
		t.add(r.pkg, r.name, nanoseconds(middleValue(r.values["ns/op"])), rate, fmt.Sprintf("%.0f", middleValue(r.values["allocs/op"])))
	}
	if len(rows) == 0 {
		return "", fmt.Errorf("%s has no benchmarks", microFile)
	}
	return t.String(), nil
}

// microRow is one benchmark with what each of its runs said, by unit.
type microRow struct {
	pkg, name string
	values    map[string][]float64
}

// parseMicro reads the format that golang.org/design/14313-benchmark-format
// describes, and sorts by package.
func parseMicro(text string) (rows []microRow) {
	pkg := ""
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "pkg: tufboot/"); ok {
			pkg = strings.TrimSpace(name)
		}
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i] // the number of processors
		}
		i := slices.IndexFunc(rows, func(r microRow) bool { return r.pkg == pkg && r.name == name })
		if i < 0 {
			i, rows = len(rows), append(rows, microRow{pkg, name, make(map[string][]float64)})
		}
		for n := 2; n+1 < len(fields); n += 2 {
			if v, err := strconv.ParseFloat(fields[n], 64); err == nil {
				rows[i].values[fields[n+1]] = append(rows[i].values[fields[n+1]], v)
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b microRow) int { return cmp.Compare(a.pkg, b.pkg) })
	return rows
}

func middleValue(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func nanoseconds(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.1f ms", n/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f µs", n/1e3)
	}
	return fmt.Sprintf("%.0f ns", n)
}
