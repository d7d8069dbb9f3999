package main

import (
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
uploaded. Without VERSION it is whatever the first channel points to. What nodes on
the channel's last releases fetch is shown.

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
	return &cli.StringFlag{Name: "rollout", Usage: "give it to more and more nodes, in `WAVES` such as 5%,50%@24h,100%@72h; 0% holds it back"}
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

// parseWaves parses PERCENT%[@DURATION],...; "" is no waves. What begins with 0% is
// held back from everybody, until the next wave if there is one.
func parseWaves(s string) ([]metadata.Wave, error) {
	if s == "" {
		return nil, nil
	}
	waves := []metadata.Wave{}
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
		if n == 0 && wait == 0 && len(waves) == 0 {
			continue // before the first wave it is nobody
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
