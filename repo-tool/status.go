package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata/repository"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "show versions, expiry, keys and what to do next",
		Description: examples(`Shows each role's version, expiry, threshold and keys. It needs no private keys.

Exit code: 0 when nothing is due; 1 when something expires within its window
(refresh-due); 4 when something has expired, so that clients refuse the
repository (metadata-expired).`,
			"repo-tool status --repo repo",
			"repo-tool status --repo repo --json"),
		Flags:  []cli.Flag{repoFlag()},
		Action: runStatus,
	}
}

// statusResult adds to the status what to do next.
type statusResult struct {
	*repository.Status
	Next []string `json:"next"`
}

// dueError makes status end with an exit code that alerts.
type dueError struct {
	state string
	next  string
}

func (e *dueError) Error() string {
	if e.state == repository.StateExpired {
		return "metadata has expired: nodes refuse to update"
	}
	return "metadata expires soon"
}

func (e *dueError) ExitCode() int {
	if e.state == repository.StateExpired {
		return console.ExitVerification
	}
	return console.ExitFailed
}

func (e *dueError) ReasonCode() string {
	if e.state == repository.StateExpired {
		return "metadata-expired"
	}
	return "refresh-due"
}

func (e *dueError) Hint() string { return e.next }

func runStatus(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	if err := require(c, "repo"); err != nil {
		return err
	}
	repo, err := openRepo(c, v)
	if err != nil {
		return err
	}
	status, err := repo.Status(c.Context)
	if err != nil {
		return err
	}
	result := statusResult{Status: status, Next: nextSteps(status)}
	if err := v.print(c, result, result.text); err != nil || status.State == repository.StateOK {
		return err
	}
	return &dueError{state: status.State, next: result.Next[0]}
}

// nextSteps says what to do about each role that is due, or when to look again.
func nextSteps(s *repository.Status) []string {
	var steps []string
	first := s.Roles[0].Due
	for _, role := range s.Roles {
		if role.Due.Before(first) {
			first = role.Due
		}
		if role.State == repository.StateOK {
			continue
		}
		keys := "the " + role.Role + " key"
		if role.Threshold > 1 {
			keys = fmt.Sprintf("%d of the %d %s keys", role.Threshold, len(role.Keys), role.Role)
		}
		verb := "expires"
		if role.State == repository.StateExpired {
			verb = "expired"
		}
		steps = append(steps, fmt.Sprintf("run refresh with %s: %s %s %s", keys, role.Role, verb, role.Expires.Format(time.RFC3339)))
	}
	if steps == nil {
		steps = append(steps, "run refresh from "+first.Format(time.RFC3339)+" on")
	}
	return steps
}

func (r statusResult) text(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ROLE\tVERSION\tSTATE\tEXPIRES\tTHRESHOLD\tKEYS")
	for _, role := range r.Roles {
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%d of %d\t", role.Role, role.Version, role.State, role.Expires.Format(time.RFC3339), role.Threshold, len(role.Keys))
		for i, key := range role.Keys {
			if i > 0 {
				fmt.Fprint(table, ", ")
			}
			fmt.Fprintf(table, "%s %.12s", key.Type, key.ID)
		}
		fmt.Fprintln(table)
	}
	table.Flush()
	for _, step := range r.Next {
		fmt.Fprintf(w, "next: %s\n", step)
	}
}
