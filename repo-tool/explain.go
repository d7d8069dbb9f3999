package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata/repository"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "show who vouches for a target, by which keys",
		ArgsUsage: "[TARGET]",
		Description: examples(`Shows the chain that a node walks to a target: root, timestamp, snapshot, targets
and the roles below, each with its version, expiry, and the keys whose signatures
are right; then the target's length, hash and file. With --channel it goes on from
the channel to the release's manifest and its files.

For a target that is not there it shows where was looked. It needs no keys, reads
no payload, and works with folders, buckets and web servers.

Exit code: 0 when nodes find it; 3 when no role vouches for it (no-such-target);
4 when something on the way is wrong. Expiry is shown, and left to status.`,
			"repo-tool explain --repo repo --channel stable",
			"repo-tool explain --repo https://updates.example.com releases/1.4.0/amd64/vmlinuz --json"),
		Flags: []cli.Flag{
			repoReadFlag(),
			&cli.StringFlag{Name: "channel", Usage: "explain the channel `C` and its release"},
			&cli.StringFlag{Name: "arch", Value: defaultArch, Usage: "the release for the architecture `A`"},
		},
		Action: runExplain,
	}
}

func runExplain(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	if err := require(c, "repo"); err != nil {
		return err
	}
	channel := c.String("channel")
	if (channel == "") == (c.Args().Len() == 0) || c.Args().Len() > 1 {
		return console.Usagef("explain: give one target, or --channel; see repo-tool explain --help")
	}
	from, err := openReader(c, "repo")
	if err != nil {
		return err
	}
	var result *repository.Explanation
	if channel != "" {
		result, err = repository.ExplainChannel(c.Context, from, channel, c.String("arch"), v.options())
	} else {
		result, err = repository.ExplainTarget(c.Context, from, c.Args().First(), v.options())
	}
	if result == nil {
		return err
	}
	if printErr := v.print(c, result, func(w io.Writer) { explainText(w, result) }); printErr != nil {
		return printErr
	}
	return err
}

// branch is a line of the tree, with lines below it and branches that hang on it.
type branch struct {
	title    string
	lines    []string
	branches []*branch
}

func (b *branch) write(w io.Writer, first, rest string) {
	fmt.Fprintln(w, first+b.title)
	bar := rest
	if len(b.branches) > 0 {
		bar += "│  "
	} else {
		bar += "   "
	}
	for _, line := range b.lines {
		fmt.Fprintln(w, bar+line)
	}
	for i, sub := range b.branches {
		if i < len(b.branches)-1 {
			sub.write(w, rest+"├─ ", rest+"│  ")
		} else {
			sub.write(w, rest+"└─ ", rest+"   ")
		}
	}
}

// explainText shows the chain as a tree that hangs on the root.
func explainText(w io.Writer, x *repository.Explanation) {
	newest := x.Roots[len(x.Roots)-1]
	top := linkBranch(newest)
	top.lines = append(rootLines(x.Roots), top.lines...)
	at := map[string]*branch{newest.Role: top}
	for i, link := range x.Roles {
		b := linkBranch(link)
		above := at[link.By]
		if i > 0 && link.By == repository.Root { // each is named by the one before
			above = at[x.Roles[i-1].Role]
		}
		above.branches = append(above.branches, b)
		at[link.Role] = b
	}
	for _, t := range x.Targets {
		above := at[repository.Targets]
		if len(t.Path) > 0 {
			above = at[t.Path[len(t.Path)-1]]
		}
		above.branches = append(above.branches, traceBranch(t))
	}
	top.write(w, "", "")
}

// rootLines shows how the older roots lead to the newest.
func rootLines(roots []repository.Link) []string {
	var lines []string
	for _, root := range roots[1:] {
		lines = append(lines, fmt.Sprintf("version %d is signed by %d of the keys of version %d too (%s)",
			root.Version, root.Before.Signed, root.Version-1, mustSign(root.Before.Keys, root.Before.Threshold)))
	}
	return lines
}

func linkBranch(link repository.Link) *branch {
	expires := "expires"
	if link.Expired {
		expires = "EXPIRED"
	}
	b := &branch{title: fmt.Sprintf("%s version %d, %s %s", plain(link.Role), link.Version, expires, link.Expires.Format(time.RFC3339))}
	var signed []string
	for _, key := range link.Keys {
		if key.Signed {
			signed = append(signed, fmt.Sprintf("%s %.12s", key.Type, key.ID))
		}
	}
	b.lines = append(b.lines, fmt.Sprintf("signed by %s (%s)", strings.Join(signed, ", "), mustSign(len(link.Keys), link.Threshold)))
	switch last := link.Terminating; {
	case link.Bin:
		b.lines = append(b.lines, "one of the bins of "+plain(link.By)+", by the hash of the name")
	case link.Paths != nil && last:
		b.lines = append(b.lines, "may sign "+plain(strings.Join(link.Paths, " "))+", and has the last word")
	case link.Paths != nil:
		b.lines = append(b.lines, "may sign "+plain(strings.Join(link.Paths, " ")))
	}
	return b
}

func mustSign(keys, threshold int) string {
	if keys == 1 {
		return fmt.Sprintf("1 key, %d must sign", threshold)
	}
	return fmt.Sprintf("%d keys, %d must sign", keys, threshold)
}

func traceBranch(t repository.Trace) *branch {
	b := &branch{title: plain(t.Target)}
	if t.Path == nil {
		b.title += " is not there"
		for _, look := range t.Looked {
			b.lines = append(b.lines, fmt.Sprintf("%s %s", plain(look.Role), look.Answer))
		}
		return b
	}
	if t.Kind == repository.TraceManifest {
		b.title += fmt.Sprintf(" (release %s, %s)", t.Version, t.Arch)
	}
	b.lines = append(b.lines, fmt.Sprintf("%d bytes, SHA-256 %s", t.Length, t.SHA256), plain(t.File))
	if pinned := t.Pinned; pinned != "" && pinned == t.SHA256 {
		by := "the channel"
		if t.Kind == repository.TraceArtifact {
			by = "the manifest"
		}
		b.lines = append(b.lines, by+" names this hash too")
	}
	if t.Problem != "" {
		b.lines = append(b.lines, "WRONG: "+t.Problem)
	}
	return b
}
