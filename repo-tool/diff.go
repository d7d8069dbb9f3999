package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

func diffCommand() *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "compare two repositories, or two states of one",
		ArgsUsage: "[A B]",
		Description: examples(`Shows what B has otherwise than A: versions, expiry, keys and thresholds of the
roles, where channels point to, and releases. A and B are folders, buckets or web
servers. With --repo and --from it compares a past state of one repository, named
by the version of its timestamp (in its history), with the present or --to.

+ is added, - is removed, ~ is different; ! is a warning: the same target with
other content, or the same version of a role with other content. Both sides are
verified, but for expiry; no payload is read, and no keys are needed.

Exit code: 0 when they are equal; 1 when they differ (differs), or it failed.`,
			"repo-tool diff repo https://mirror.example.com",
			"repo-tool diff --repo repo --from 41",
			"repo-tool diff --repo repo --from 41 --to 43 --json"),
		Flags: []cli.Flag{
			repoFlag(),
			&cli.Int64Flag{Name: "from", Usage: "compare from the state with timestamp version `N`"},
			&cli.Int64Flag{Name: "to", Usage: "compare to the state with timestamp version `N`; else to the present one"},
		},
		Action: runDiff,
	}
}

// differError makes diff end with an exit code.
type differError struct{ from, to string }

func (e *differError) Error() string      { return e.from + " and " + e.to + " differ" }
func (e *differError) ExitCode() int      { return console.ExitFailed }
func (e *differError) ReasonCode() string { return "differs" }

func runDiff(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	from, to, err := diffSides(c)
	if err != nil {
		return err
	}
	diff, err := repository.Compare(c.Context, from, to)
	if err != nil {
		return err
	}
	if err := v.print(c, diff, func(w io.Writer) { diffText(w, diff) }); err != nil || diff.Equal {
		return err
	}
	return &differError{diff.From, diff.To}
}

// diffSides returns what is to be compared.
func diffSides(c *cli.Context) (from, to storage.Reader, err error) {
	args := c.Args()
	if c.IsSet("from") || c.IsSet("to") {
		if args.Len() > 0 {
			return nil, nil, console.Usagef("diff: give two repositories, or --repo with --from, not both")
		}
		if err := require(c, "repo", "from"); err != nil {
			return nil, nil, err
		}
		return diffStates(c)
	}
	if args.Len() != 2 {
		return nil, nil, console.Usagef("diff: give two repositories, or --repo with --from; see repo-tool diff --help")
	}
	if from, err = openReaderAt(c.Context, args.Get(0), args.Get(0)); err != nil {
		return nil, nil, err
	}
	to, err = openReaderAt(c.Context, args.Get(1), args.Get(1))
	return from, to, err
}

// diffStates returns two states of one repository.
func diffStates(c *cli.Context) (from, to storage.Reader, err error) {
	store, err := openStore(c, "repo")
	if err != nil {
		return nil, nil, err
	}
	if from, err = stateOf(c.Context, store, c.Int64("from")); err != nil {
		return nil, nil, err
	}
	if !c.IsSet("to") {
		return from, store, nil
	}
	to, err = stateOf(c.Context, store, c.Int64("to"))
	return from, to, err
}

func stateOf(ctx context.Context, store storage.Store, version int64) (storage.Reader, error) {
	past, now, err := repository.PastAt(ctx, store, version)
	if err != nil || now {
		return store, err
	}
	return repository.AsOf(store, past), nil
}

// sign returns the character that a line starts with.
func sign(change string) string {
	switch change {
	case repository.Added:
		return "+"
	case repository.Removed:
		return "-"
	}
	return "~"
}

func diffText(w io.Writer, d *repository.Diff) {
	if d.Equal {
		fmt.Fprintln(w, "equal")
		return
	}
	fmt.Fprintf(w, "from %s\nto   %s\n", d.From, d.To)
	for _, role := range d.Roles {
		roleDiffText(w, role)
	}
	for _, channel := range d.Channels {
		channelDiffText(w, channel)
	}
	for _, release := range d.Releases {
		fmt.Fprintf(w, "%s release %s (%s) %s\n", sign(release.Change), release.Version, release.Arch, release.ID.Short())
	}
	for _, t := range d.Targets {
		if t.Change == repository.Changed {
			fmt.Fprintf(w, "! target %s: other content under the same name, SHA-256 %.12s -> %.12s\n", plain(t.Target), t.FromSHA256, t.ToSHA256)
			continue
		}
		fmt.Fprintf(w, "%s target %s\n", sign(t.Change), plain(t.Target))
	}
}

// plain returns a name that anybody may have written so that a terminal does
// nothing but show it.
func plain(name string) string {
	quoted := fmt.Sprintf("%+q", name)
	if inner := quoted[1 : len(quoted)-1]; inner == name {
		return name
	}
	return quoted
}

func roleDiffText(w io.Writer, d repository.RoleDiff) {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if d.Version != nil {
		add("version %d -> %d", d.Version.From, d.Version.To)
	}
	if d.Expires != nil {
		add("expires %s -> %s", d.Expires.From.Format(time.RFC3339), d.Expires.To.Format(time.RFC3339))
	}
	if d.Threshold != nil {
		add("threshold %d -> %d", d.Threshold.From, d.Threshold.To)
	}
	for _, key := range d.KeysAdded {
		add("+key %s %.12s", key.Type, key.ID)
	}
	for _, key := range d.KeysRemoved {
		add("-key %s %.12s", key.Type, key.ID)
	}
	if d.ExpirySeconds != nil {
		add("expiry %s -> %s", seconds(d.ExpirySeconds.From), seconds(d.ExpirySeconds.To))
	}
	if d.WindowSeconds != nil {
		add("window %s -> %s", seconds(d.WindowSeconds.From), seconds(d.WindowSeconds.To))
	}
	if d.Bins != nil {
		add("bins %d -> %d", d.Bins.From, d.Bins.To)
	}
	if d.Paths != nil {
		add("paths %s -> %s", orNone(strings.Join(d.Paths.From, " ")), orNone(strings.Join(d.Paths.To, " ")))
	}
	if d.Rewritten {
		fmt.Fprintf(w, "! role %s: other content under the same version\n", plain(d.Role))
	}
	if len(parts) > 0 {
		fmt.Fprintf(w, "%s role %s: %s\n", sign(d.Change), plain(d.Role), strings.Join(parts, ", "))
	}
}

// seconds writes a number of seconds for people, without zero parts.
func seconds(n int64) string {
	s := (time.Duration(n) * time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func channelDiffText(w io.Writer, d repository.ChannelDiff) {
	name := plain(d.Channel)
	if d.Arch != "" {
		name += " (" + d.Arch + ")"
	} else if d.Change != repository.Changed {
		fmt.Fprintf(w, "%s channel %s\n", sign(d.Change), name)
	}
	line := func(format string, args ...any) {
		fmt.Fprintf(w, "%s channel %s: %s\n", sign(d.Change), name, fmt.Sprintf(format, args...))
	}
	switch r := d.Release; {
	case r == nil:
	case r.From.Version == "":
		line("%s (%s)", r.To.Version, r.To.ID.Short())
	case r.To.Version == "":
		line("%s (%s)", r.From.Version, r.From.ID.Short())
	default:
		line("%s (%s) -> %s (%s)", r.From.Version, r.From.ID.Short(), r.To.Version, r.To.ID.Short())
	}
	if d.Rollout != nil {
		line("rollout: %s -> %s", wavesText(d.Rollout.From), wavesText(d.Rollout.To))
	}
	if d.Minimum != nil {
		line("minimum: %s -> %s", orNone(d.Minimum.From), orNone(d.Minimum.To))
	}
	if d.Steps != nil {
		line("steps: %s -> %s", orNone(strings.Join(d.Steps.From, " ")), orNone(strings.Join(d.Steps.To, " ")))
	}
	if d.Role != nil {
		line("signed by role %s -> %s", plain(d.Role.From), plain(d.Role.To))
	}
	if m := d.Maintenance; m != nil {
		line("maintenance: %s -> %s", hintText(m.From), hintText(m.To))
	}
	if u := d.Unreadable; u != nil {
		line("cannot be read: %s -> %s", orNone(u.From), orNone(u.To))
	}
}

// wavesText shows a rollout in a line.
func wavesText(r *metadata.Rollout) string {
	if r == nil {
		return "all nodes"
	}
	if len(r.Waves) == 0 {
		return "nobody"
	}
	waves := make([]string, len(r.Waves))
	for i, wave := range r.Waves {
		waves[i] = fmt.Sprintf("%d%%@%s", wave.Percent, seconds(wave.After))
	}
	return strings.Join(waves, ",") + " from " + r.Start.Format(time.RFC3339)
}

func hintText(m *metadata.Maintenance) string {
	if m == nil {
		return "none"
	}
	return maintenanceText(m)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
