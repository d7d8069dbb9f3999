package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata"
	"tufboot/metadata/repository"
)

func promoteCommand() *cli.Command {
	return &cli.Command{
		Name:      "promote",
		Usage:     "point a channel to a release that another channel points to",
		ArgsUsage: "[VERSION]",
		Description: examples(`What was tried in one channel is given to the nodes of another; nothing is
uploaded. Without VERSION it is whatever the first channel points to.

With --rollout nodes get it wave by wave; which node is in which wave differs
from release to release.`,
			"repo-tool promote 1.5.0 --from beta --to stable --repo repo --keys keys",
			"repo-tool promote 1.5.0 --from beta --to stable --repo repo --keys keys --rollout 5%,50%@24h,100%@72h",
			"repo-tool promote 2.0.0 --from beta --to stable --repo repo --keys keys --minimum 1.4.0"),
		Flags: append([]cli.Flag{
			repoFlag(),
			&cli.StringFlag{Name: "from", Usage: "the channel `C` that points to the release"},
			&cli.StringFlag{Name: "to", Usage: "the channel `C` to point to it"},
			archFlag("only for the architecture `A`; else for all that there are"),
		}, slices.Concat(pointingFlags(), lockingFlags())...),
		Action: runPromote,
	}
}

func archFlag(usage string) cli.Flag { return &cli.StringFlag{Name: "arch", Usage: usage} }

// pointingFlags say how a release reaches the nodes of a channel.
func pointingFlags() []cli.Flag {
	return []cli.Flag{
		rolloutFlag(),
		&cli.StringFlag{Name: "minimum", Usage: "nodes below version `V` are not updated to it directly, but go through what the channel pointed to before"},
		&cli.StringSliceFlag{Name: "step", Usage: "another version `V` for nodes below the minimum to go through"},
		&cli.BoolFlag{Name: "move-channel", Usage: "point the channel to it also if it is a lower version, was published before, or was withdrawn"},
	}
}

func rolloutFlag() cli.Flag {
	return &cli.StringFlag{Name: "rollout", Usage: "give it to more and more nodes, in `WAVES` such as 5%,50%@24h,100%@72h"}
}

func pointingOf(c *cli.Context) (repository.Pointing, error) {
	waves, err := parseWaves(c.String("rollout"))
	return repository.Pointing{
		Rollout: waves,
		Minimum: c.String("minimum"),
		Steps:   c.StringSlice("step"),
		Back:    c.Bool("move-channel"),
	}, err
}

// parseWaves parses PERCENT%[@DURATION],...; "" is no waves.
func parseWaves(s string) ([]metadata.Wave, error) {
	if s == "" {
		return nil, nil
	}
	var waves []metadata.Wave
	for part := range strings.SplitSeq(s, ",") {
		percent, after, timed := strings.Cut(strings.TrimSpace(part), "@")
		number, ok := strings.CutSuffix(percent, "%")
		n, err := strconv.Atoi(number)
		wait := time.Duration(0)
		if err == nil && timed {
			wait, err = time.ParseDuration(after)
		}
		if !ok || err != nil || wait%time.Second != 0 {
			return nil, console.Usagef("rollout %q: write waves as PERCENT%%@DURATION, such as 5%%,50%%@24h,100%%@72h", part)
		}
		waves = append(waves, metadata.Wave{After: int64(wait / time.Second), Percent: n})
	}
	return waves, nil
}

func runPromote(c *cli.Context) error {
	if err := require(c, "from", "to"); err != nil {
		return err
	}
	version, err := oneArg(c, "version", "")
	if err != nil {
		return err
	}
	pointing, err := pointingOf(c)
	if err != nil {
		return err
	}
	return changeChannel(c, func(repo *repository.Repository, keys repository.Signers) (*repository.ChannelChange, error) {
		return repo.Promote(c.Context, repository.PromoteOptions{
			Version: version, Arch: c.String("arch"), From: c.String("from"), To: c.String("to"), Pointing: pointing, Keys: keys,
		})
	})
}

// changeChannel runs a command on a channel and shows what it did.
func changeChannel(c *cli.Context, do func(*repository.Repository, repository.Signers) (*repository.ChannelChange, error)) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	repo, keys, err := openToSign(c, v)
	if err != nil {
		return err
	}
	result, err := signWith(c, keys, func() (*repository.ChannelChange, error) { return do(repo, keys) })
	if err != nil {
		return err
	}
	return v.print(c, result, func(w io.Writer) { channelText(w, result) })
}

func channelText(w io.Writer, r *repository.ChannelChange) {
	if !r.Changed {
		fmt.Fprintf(w, "nothing to do: channel %s is like that already\n", r.Channel)
		return
	}
	for _, p := range r.Pointers {
		switch {
		case p.To == "" && p.From == "":
			continue
		case p.To == "":
			fmt.Fprintf(w, "channel %s (%s): %s is taken back; it points to nothing\n", r.Channel, p.Arch, p.From)
		case p.From == p.To:
			fmt.Fprintf(w, "channel %s (%s): points to %s as before\n", r.Channel, p.Arch, p.To)
		case p.From == "":
			fmt.Fprintf(w, "channel %s (%s): points to %s\n", r.Channel, p.Arch, p.To)
		default:
			fmt.Fprintf(w, "channel %s (%s): %s, was %s\n", r.Channel, p.Arch, p.To, p.From)
		}
		rolloutText(w, r, p.Arch)
	}
}

// rolloutText shows what keeps nodes from a channel's release.
func rolloutText(w io.Writer, r *repository.ChannelChange, arch string) {
	ref := r.Now.Releases[arch]
	if ref.Minimum != "" {
		fmt.Fprintf(w, "  nodes below %s go through:", ref.Minimum)
		for _, step := range r.Now.Steps[arch] {
			fmt.Fprintf(w, " %s", step.Version)
		}
		fmt.Fprintln(w)
	}
	if ref.Rollout == nil {
		return
	}
	fmt.Fprintf(w, "  rollout from %s:", ref.Rollout.Start.Format(time.RFC3339))
	if len(ref.Rollout.Waves) == 0 {
		fmt.Fprint(w, " nobody")
	}
	for i, wave := range ref.Rollout.Waves {
		if i > 0 {
			fmt.Fprint(w, ",")
		}
		fmt.Fprintf(w, " %d%% after %s", wave.Percent, time.Duration(wave.After)*time.Second)
	}
	fmt.Fprintln(w)
}
