package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata/repository"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "show versions, expiry, keys, channels and what to do next",
		Description: examples(`Shows each role's version, expiry, threshold and keys, where the channels point
to, what will not do for ever (warning), and what to do next. It needs no
private keys, and reads the folder or bucket, or the web server that hands it
out.

With --prometheus it prints metrics in the text format of Prometheus, for a file
that its node exporter reads. The repository's place is no label: add one where
the metrics are collected.

Exit code: 0 when nothing is due; 1 when something expires within its window, or
within --warn-within (refresh-due); 4 when something has expired, so that
clients refuse the repository (metadata-expired), or when a newer state was
published before, so that nodes refuse this one (metadata-rollback). Warnings do
not change it. A web server hands out nothing by which the latter could be told.`,
			"repo-tool status --repo repo",
			"repo-tool status --repo https://updates.example.com --warn-within 72h --json",
			"repo-tool status --repo repo --prometheus > /var/lib/node_exporter/tufboot.prom"),
		Flags: []cli.Flag{
			repoReadFlag(),
			&cli.DurationFlag{Name: "warn-within", Usage: "take for due what expires within `DURATION`, such as 72h"},
			&cli.BoolFlag{Name: "prometheus", Usage: "print metrics for Prometheus"},
		},
		Action: runStatus,
	}
}

// repoReadFlag is --repo of commands that only read.
func repoReadFlag() cli.Flag {
	return &cli.StringFlag{Name: "repo", Usage: "the repository's `PLACE`: a folder, a bucket (s3://BUCKET?prefix=DIR/), or a web server (https://...)", EnvVars: []string{"REPO_TOOL_REPO"}}
}

// statusResult adds to the status what to do next.
type statusResult struct {
	*repository.Status
	Next []string `json:"next"`
}

// alarm makes status end with an exit code that alerts.
type alarm struct {
	text, reason, next string
	code               int
}

func (a *alarm) Error() string      { return a.text }
func (a *alarm) ExitCode() int      { return a.code }
func (a *alarm) ReasonCode() string { return a.reason }
func (a *alarm) Hint() string       { return a.next }

// alarm returns the error to end with, nil where all is well.
func (r statusResult) alarm() error {
	next := r.Next[0]
	switch r.State {
	case repository.StateOK:
		return nil
	case repository.StateOlder:
		return &alarm{r.Older.Error() + ": nodes refuse to update", "metadata-rollback", next, console.ExitVerification}
	case repository.StateExpired:
		return &alarm{"metadata has expired: nodes refuse to update", "metadata-expired", next, console.ExitVerification}
	}
	return &alarm{"metadata expires soon", "refresh-due", next, console.ExitFailed}
}

func runStatus(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	if err := require(c, "repo"); err != nil {
		return err
	}
	within := c.Duration("warn-within")
	if within < 0 {
		return console.Usagef("status: --warn-within %s is negative", within)
	}
	if c.Bool("prometheus") && v.json {
		return console.Usagef("status: give --json or --prometheus, not both")
	}
	from, err := openReader(c, "repo")
	if err != nil {
		return err
	}
	status, err := repository.ReadStatus(c.Context, from, repository.StatusOptions{Options: v.options(), WarnWithin: within})
	if c.Bool("prometheus") {
		writeMetrics(c.App.Writer, status, v.now())
	}
	if err != nil {
		return err
	}
	result := statusResult{Status: status, Next: nextSteps(status)}
	if !c.Bool("prometheus") {
		if err := v.print(c, result, result.text); err != nil {
			return err
		}
	}
	return result.alarm()
}

// nextSteps says what to do about each role that is due, or when to look again.
func nextSteps(s *repository.Status) []string {
	if s.Bundle != nil {
		return []string{bundleStep(s)}
	}
	var steps []string
	if s.Older != nil {
		steps = append(steps, s.Older.Advice)
	}
	first := s.Roles[0].Due
	for _, role := range s.Roles {
		if role.Due.Before(first) {
			first = role.Due
		}
		if role.State == repository.StateOK {
			continue
		}
		name := role.Role
		if name == repository.Channels || name == repository.Releases {
			name += " (publish)" // init's name of their keys
		}
		keys := "the " + name + " key"
		if role.Threshold > 1 {
			keys = fmt.Sprintf("%d of the %d %s keys", role.Threshold, len(role.Keys), name)
		}
		verb, command := "expires", "refresh"
		switch {
		case role.State == repository.StateExpired:
			verb = "expired"
		case s.At.Before(role.Due): // only --warn-within finds it due
			command = "refresh --all"
		}
		steps = append(steps, fmt.Sprintf("run %s with %s: %s %s %s", command, keys, role.Role, verb, role.Expires.Format(time.RFC3339)))
	}
	if steps == nil {
		steps = append(steps, "run refresh from "+first.Format(time.RFC3339)+" on")
	}
	return steps
}

// bundleStep says what to do about a bundle, which nobody signs again.
func bundleStep(s *repository.Status) string {
	return fmt.Sprintf("this is a bundle: refresh the repository, and make the bundle of channel %s anew, before %s", s.Bundle.Channel, s.Bundle.Expires.Format(time.RFC3339))
}

func (r statusResult) text(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ROLE\tVERSION\tSTATE\tEXPIRES\tDUE\tTHRESHOLD\tKEYS")
	for _, role := range r.Roles {
		keys := make([]string, len(role.Keys))
		for i, key := range role.Keys {
			keys[i] = fmt.Sprintf("%s %.12s", key.Type, key.ID)
		}
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t%d of %d\t%s\n", role.Role, role.Version, role.State,
			role.Expires.Format(time.RFC3339), role.Due.Format(time.RFC3339), role.Threshold, len(role.Keys), strings.Join(keys, ", "))
	}
	table.Flush()
	r.channelsText(w)
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning.Text)
	}
	for _, step := range r.Next {
		fmt.Fprintf(w, "next: %s\n", step)
	}
}

func (r statusResult) channelsText(w io.Writer) {
	if len(r.Channels) == 0 {
		return
	}
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CHANNEL\tARCH\tRELEASE\tIDENTITY\tNODES\tSIGNED BY")
	for _, channel := range r.Channels {
		if len(channel.Releases) == 0 {
			fmt.Fprintf(table, "%s\t-\t-\t-\t-\t%s\n", channel.Channel, channel.Role)
		}
		for _, p := range channel.Releases {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d%%\t%s\n", channel.Channel, p.Arch, p.Version, p.ID.Short(), p.Percent, channel.Role)
		}
	}
	table.Flush()
	fmt.Fprintln(w)
}
