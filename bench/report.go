package main

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// table writes a table in Markdown, its columns aligned.
type table struct{ rows [][]string }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) String() string {
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var out strings.Builder
	for n, row := range t.rows {
		for i, cell := range row {
			fmt.Fprintf(&out, "| %s%s ", cell, strings.Repeat(" ", widths[i]-len([]rune(cell))))
		}
		out.WriteString("|\n")
		if n > 0 {
			continue
		}
		for _, width := range widths {
			out.WriteString("|" + strings.Repeat("-", width+2))
		}
		out.WriteString("|\n")
	}
	return out.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
func times(d, unit time.Duration) string {
	return fmt.Sprintf("%.2f", float64(d)/float64(unit))
}
func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/mb) }

// machine says on what all this was measured.
func (b *bench) machine(ctx context.Context) (string, error) {
	shell := func(text string) string {
		out, err := exec.CommandContext(ctx, "sh", "-c", text).Output()
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(out))
	}
	versions := []string{"Go " + strings.TrimPrefix(runtime.Version(), "go")}
	for _, name := range []string{"curl", "rauc", "swupdate", "mender-client", "ostree", "casync", "zchunk", "nginx", "openssl", "e2fsprogs"} {
		versions = append(versions, name+" "+shell("dpkg-query -W -f '${Version}' "+name))
	}
	versions = append(versions, "desync "+shell("go version -m "+b.tools+"/desync | awk '$1 == \"mod\" || $1 == \"dep\" && $2 ~ /folbricht.desync$/ {print $3; exit}'"))
	return fmt.Sprintf("%s; Linux %s; %d processors (%s), %s of memory; %s; tufboot %s; rounds: %d.\n\n%s.\n",
		shell(". /etc/os-release; echo $PRETTY_NAME"), shell("uname -r"), runtime.NumCPU(),
		shell("lscpu | sed -n 's/^Model name: *//p'"), shell("free -g --si | awk '/^Mem/ {print $2 \" GB\"}'"),
		time.Now().UTC().Format(time.DateOnly), shell(b.bin+"/agent --version | awk '{print $3}'"), b.rounds, strings.Join(versions, ", ")), nil
}
