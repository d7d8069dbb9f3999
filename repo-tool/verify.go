package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata/rehearsal"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:  "verify",
		Usage: "read the whole repository as clients would",
		Description: examples(`Runs real clients over the repository. First the nodes' own: new nodes from each
version of root.json, or from --root alone, and nodes that hold each past state
that the repository's history knows; all must get to the same releases. Then
another one (go-tuf's), which finds every target, and reads each to compare it with
its length, its hash and its chunk map. It needs no keys, and reads the folder or
bucket, or the web server that hands it out (which has no history).

A bundle is read by new nodes, each release that it says it holds.

With --at it is done as of a date, and says first what has expired by then.

Exit code: 0 when all is right; 4 when a client refuses something, or something
has expired (metadata-expired).`,
			"repo-tool verify --repo repo",
			"repo-tool verify --repo https://updates.example.com --root root.json --metadata-only",
			"repo-tool verify --repo repo --at 2027-01-01"),
		Flags: []cli.Flag{
			repoReadFlag(),
			&cli.StringFlag{Name: "root", Usage: "start from the root in `FILE`, as nodes do"},
			&cli.BoolFlag{Name: "metadata-only", Usage: "read no targets but channels and the manifests that they point to"},
			&cli.StringFlag{Name: "at", Usage: "verify as of `DATE`, such as 2027-01-01 or 2027-01-01T12:00:00Z"},
		},
		Action: runVerify,
	}
}

// verifyResult is what verify prints.
type verifyResult struct {
	*repository.Verified
	Clients *rehearsal.Verified `json:"clients"`

	metadataOnly bool
}

func runVerify(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	if err := require(c, "repo"); err != nil {
		return err
	}
	opts := repository.VerifyOptions{Options: v.options(), MetadataOnly: c.Bool("metadata-only")}
	if opts.Root, err = trustedRoot(c); err != nil {
		return err
	}
	from, err := openReader(c, "repo")
	if err != nil {
		return err
	}
	bundle, err := repository.ReadBundled(c.Context, from)
	if err != nil {
		return err
	}
	if date := c.String("at"); date != "" {
		at, err := parseDate(date)
		if err != nil {
			return err
		}
		if bundle == nil { // which lacks roles that nobody needs there
			if err := checkExpiry(c, v, from, at); err != nil {
				return err
			}
		}
		opts.Now = func() time.Time { return at }
	}
	if bundle != nil {
		result, err := verifyBundle(c.Context, from, bundle, opts)
		if err != nil {
			return err
		}
		return v.print(c, result, result.text)
	}
	result, err := verify(c.Context, v, from, opts)
	if err != nil {
		return err
	}
	return v.print(c, result, result.text)
}

// parseDate reads a day, or a time of RFC 3339.
func parseDate(s string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, console.Usagef("date %q: write 2027-01-01 or 2027-01-01T12:00:00Z", s)
}

// expiryResult is what verify --at prints when something has expired by then.
type expiryResult struct {
	At      time.Time     `json:"at"`
	Expired []expiredRole `json:"expired"`
}

type expiredRole struct {
	Role    string    `json:"role"`
	Expires time.Time `json:"expires"`
}

// checkExpiry says what will have expired at a date.
func checkExpiry(c *cli.Context, v common, from storage.Reader, at time.Time) error {
	opts := v.options()
	opts.Now = func() time.Time { return at }
	status, err := repository.ReadStatus(c.Context, from, repository.StatusOptions{Options: opts})
	if err != nil {
		return err
	}
	result := expiryResult{At: at}
	var names []string
	for _, role := range status.Roles {
		if role.State == repository.StateExpired {
			result.Expired = append(result.Expired, expiredRole{role.Role, role.Expires})
			names = append(names, role.Role)
		}
	}
	if len(names) == 0 {
		return nil
	}
	err = v.print(c, result, func(w io.Writer) {
		for _, role := range result.Expired {
			fmt.Fprintf(w, "%s expires %s\n", role.Role, role.Expires.Format(time.RFC3339))
		}
	})
	if err != nil {
		return err
	}
	return &repository.InvalidError{
		Reason: "metadata-expired",
		Err:    fmt.Errorf("unless it is refreshed before %s, clients refuse it then: %s", at.Format(time.RFC3339), strings.Join(names, ", ")),
	}
}

// verify lets all clients look.
func verify(ctx context.Context, v common, from storage.Reader, opts repository.VerifyOptions) (*verifyResult, error) {
	clients := rehearsal.VerifyOptions{Options: rehearsal.Options{Now: opts.Now, Logger: v.logger}, Root: opts.Root}
	bars := &bars{}
	defer bars.close()
	opts.Progress, clients.Progress = bars.progress(v, "verify"), bars.progress(v, "past states")
	result := verifyResult{metadataOnly: opts.MetadataOnly}
	var err error
	if result.Clients, err = rehearsal.Verify(ctx, from, clients); err != nil {
		return nil, err
	}
	result.Verified, err = repository.Verify(ctx, from, opts)
	return &result, err
}

func (r *verifyResult) text(w io.Writer) {
	size := fmt.Sprintf("%d bytes", r.Bytes)
	if r.metadataOnly {
		size = "not read"
	}
	channels := strings.Join(r.Channels, ", ")
	if channels == "" {
		channels = "none"
	}
	fmt.Fprintf(w, "verified: root version %d, %d targets, %s, %d releases, channels: %s\n",
		r.RootVersion, r.Targets, size, r.Releases, channels)
	roots := make([]string, len(r.Clients.Roots))
	for i, version := range r.Clients.Roots {
		roots[i] = fmt.Sprint(version)
	}
	fmt.Fprintf(w, "new nodes get there from root version %s\n", strings.Join(roots, ", "))
	switch n := len(r.Clients.Past); {
	case !r.Clients.History:
		fmt.Fprintln(w, "past states were not tried: a web server has no list of its files")
	case n == 0:
		fmt.Fprintln(w, "past states were not tried: none is known here")
	case n == 1:
		fmt.Fprintf(w, "so do nodes that hold timestamp version %d\n", r.Clients.Past[0])
	default:
		fmt.Fprintf(w, "so do nodes that hold one of %d past states, timestamp versions %d to %d\n", n, r.Clients.Past[0], r.Clients.Past[n-1])
	}
	if n := len(r.Clients.Incomplete); n > 0 {
		fmt.Fprintf(w, "%d of these are not complete any more, and were tried with what is left\n", n)
	}
}
