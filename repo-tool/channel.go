package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata"
	"tufboot/metadata/repository"
)

func channelCommand() *cli.Command {
	return &cli.Command{
		Name:  "channel",
		Usage: "show a channel, steer its rollout, set its maintenance hint",
		Description: examples("A channel is a signed pointer to a release for each architecture; publish, promote\nand withdraw move it.",
			"repo-tool channel show stable --repo repo",
			"repo-tool channel rollout stable --pause --repo repo --keys keys",
			"repo-tool channel maintenance stable --start 02:00 --duration 4h --repo repo --keys keys"),
		Subcommands: []*cli.Command{
			channelShowCommand(),
			channelRolloutCommand(),
			channelMaintenanceCommand(),
		},
	}
}

func channelShowCommand() *cli.Command {
	return &cli.Command{
		Name:        "show",
		Usage:       "show what a channel points to, how far its rollout is, and what was before",
		ArgsUsage:   "[CHANNEL]",
		Description: examples("Needs no keys.", "repo-tool channel show stable --repo repo"),
		Flags:       []cli.Flag{repoFlag()},
		Action:      runChannelShow,
	}
}

func runChannelShow(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	name, err := oneArg(c, "channel", defaultChannel)
	if err != nil {
		return err
	}
	repo, err := openRepo(c, v)
	if err != nil {
		return err
	}
	channel, err := repo.Channel(c.Context, name)
	if err != nil {
		return err
	}
	return v.print(c, channel, func(w io.Writer) { showChannel(w, channel, v.now()) })
}

func maintenanceText(m *metadata.Maintenance) string {
	days, zone := "every day", "in each node's time"
	if len(m.Days) > 0 {
		days = strings.Join(m.Days, ",")
	}
	if m.UTC {
		zone = "UTC"
	}
	return fmt.Sprintf("%s from %s %s, for %s", days, m.Start, zone, durationText(time.Duration(m.Duration)*time.Second))
}

func channelRolloutCommand() *cli.Command {
	return &cli.Command{
		Name:      "rollout",
		Usage:     "pause, finish or plan anew the rollout of a channel's release",
		ArgsUsage: "[CHANNEL]",
		Description: examples(`Nodes that have the release keep it. To take it back, use withdraw.`,
			"repo-tool channel rollout stable --pause --repo repo --keys keys",
			"repo-tool channel rollout stable --waves 50%,100%@24h --repo repo --keys keys",
			"repo-tool channel rollout stable --finish --repo repo --keys keys"),
		Flags: append([]cli.Flag{
			repoFlag(),
			archFlag("only for the architecture `A`; else for all that there are"),
			&cli.BoolFlag{Name: "pause", Usage: "no more nodes than may have it now"},
			&cli.BoolFlag{Name: "finish", Usage: "all nodes, from now on"},
			&cli.StringFlag{Name: "waves", Usage: "start anew, in `WAVES` such as 5%,50%@24h,100%@72h; 0% holds it back"},
		}, lockingFlags()...),
		Action: runChannelRollout,
	}
}

func runChannelRollout(c *cli.Context) error {
	name, err := oneArg(c, "channel", defaultChannel)
	if err != nil {
		return err
	}
	given := 0
	for _, is := range []bool{c.Bool("pause"), c.Bool("finish"), c.String("waves") != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		return console.Usagef("channel rollout: one of --pause, --finish and --waves")
	}
	waves, err := parseWaves(c.String("waves"))
	if err != nil {
		return err
	}
	return changeChannel(c, func(repo *repository.Repository, keys repository.Signers) (*repository.ChannelChange, error) {
		return repo.Rollout(c.Context, repository.RolloutOptions{
			Channel: name, Arch: c.String("arch"), Pause: c.Bool("pause"), Finish: c.Bool("finish"), Waves: waves, Keys: keys,
		})
	})
}

func channelMaintenanceCommand() *cli.Command {
	return &cli.Command{
		Name:      "maintenance",
		Usage:     "say when the nodes of a channel had better be updated",
		ArgsUsage: "[CHANNEL]",
		Description: examples(`A hint: a node keeps to it only if its configuration says so (maintenance: follow).`,
			"repo-tool channel maintenance stable --days sat,sun --start 02:00 --duration 4h --repo repo --keys keys",
			"repo-tool channel maintenance stable --none --repo repo --keys keys"),
		Flags: append([]cli.Flag{
			repoFlag(),
			&cli.StringFlag{Name: "days", Usage: "`DAYS` on which it starts, such as sat,sun; else every day"},
			&cli.StringFlag{Name: "start", Usage: "`HH:MM` at which it starts"},
			&cli.DurationFlag{Name: "duration", Usage: "how long it lasts, a `DURATION` such as 4h"},
			&cli.BoolFlag{Name: "utc", Usage: "in UTC; else in each node's own time"},
			&cli.BoolFlag{Name: "none", Usage: "remove the hint"},
		}, lockingFlags()...),
		Action: runChannelMaintenance,
	}
}

func runChannelMaintenance(c *cli.Context) error {
	name, err := oneArg(c, "channel", defaultChannel)
	if err != nil {
		return err
	}
	var m *metadata.Maintenance
	if !c.Bool("none") {
		if err := require(c, "start", "duration"); err != nil {
			return err
		}
		m = &metadata.Maintenance{Start: c.String("start"), Duration: int64(c.Duration("duration") / time.Second), UTC: c.Bool("utc")}
		if days := c.String("days"); days != "" {
			m.Days = strings.Split(days, ",")
		}
	}
	return changeChannel(c, func(repo *repository.Repository, keys repository.Signers) (*repository.ChannelChange, error) {
		return repo.SetMaintenance(c.Context, name, m, keys)
	})
}
