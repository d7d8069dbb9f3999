// Command bench measures what the agent costs on a real slot (an ext4 partition
// of a loop device), with a real repository over HTTP, beside what a shell would
// do: curl into the slot, sync, sha256sum; and what repo-tool's commands cost on
// a repository with many releases. It wants root, bin/agent and bin/repo-tool,
// and prints tables in Markdown.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
)

func main() {
	bin := flag.String("bin", "bin", "folder with agent and repo-tool")
	rounds := flag.Int("rounds", 3, "rounds; medians are printed")
	flag.Parse()
	if err := run(context.Background(), *bin, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// sizes are the initramfs sizes that are measured, in MB.
var sizes = []int64{5, 100, 500}

func run(ctx context.Context, bin string, rounds int) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tufboot-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := newLab(ctx, bin, dir)
	if err != nil {
		return err
	}
	defer l.close()
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 1, ' ', 0)
	fmt.Fprintln(table, "| initramfs\t| agent apply\t| curl + sync + sha256sum\t| ratio\t| peak memory of agent\t| written / payload\t| read / payload\t|")
	fmt.Fprintln(table, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, mb := range sizes {
		if err := l.publish(ctx, mb); err != nil {
			return err
		}
		var ours, theirs []sample
		for range rounds {
			a, err := l.apply(ctx)
			if err != nil {
				return err
			}
			b, err := l.curl(ctx, mb)
			if err != nil {
				return err
			}
			ours, theirs = append(ours, a), append(theirs, b)
		}
		a, b := median(ours), median(theirs)
		payload := float64(l.payload)
		fmt.Fprintf(table, "| %d MB\t| %.2f s\t| %.2f s\t| %.2f\t| %.1f MB\t| %.3f\t| %.3f\t|\n", mb,
			a.wall.Seconds(), b.wall.Seconds(), a.wall.Seconds()/b.wall.Seconds(),
			float64(a.memory)/1e6, float64(a.written)/payload, float64(a.read)/payload)
	}
	table.Flush()
	node := []string{"--root", l.at("repo/metadata/1.root.json"), "--disk", l.loop, "--booted-slot", "A", "--grubenv", l.at("grub/grubenv")}
	if err := benchStart(ctx, filepath.Join(bin, "agent"), node, rounds); err != nil {
		return err
	}
	// The large repository last: a child's peak memory starts from its parent's.
	if err := benchPayload(ctx, l, rounds); err != nil {
		return err
	}
	return benchRepositories(ctx, l, rounds)
}
