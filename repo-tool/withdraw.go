package main

import (
	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata/repository"
)

func withdrawCommand() *cli.Command {
	return &cli.Command{
		Name:      "withdraw",
		Usage:     "take a release back from a channel",
		ArgsUsage: "VERSION",
		Description: examples(`Points the channel back to the release before, for all nodes at once: nodes that
run the withdrawn release go back too. The release stays in the repository, and
the channel does not go back to it later by itself.`,
			"repo-tool withdraw 1.5.0 --channel stable --repo repo --keys keys",
			"repo-tool withdraw 1.5.0 --channel stable --back-to 1.3.2 --repo repo --keys keys"),
		Flags: append([]cli.Flag{
			repoFlag(),
			&cli.StringFlag{Name: "channel", Value: defaultChannel, Usage: "the channel `C`"},
			archFlag("only for the architecture `A`; else for all that there are"),
			&cli.StringFlag{Name: "back-to", Usage: "go back to version `V`; else to what the channel pointed to before"},
			&cli.BoolFlag{Name: "leave-empty", Usage: "where there is nothing to go back to, point the channel to nothing: nodes keep what they run"},
		}, lockingFlags()...),
		Action: runWithdraw,
	}
}

func runWithdraw(c *cli.Context) error {
	if !c.Args().Present() {
		return console.Usagef("withdraw: which version? see repo-tool withdraw --help")
	}
	version, err := oneArg(c, "version", "")
	if err != nil {
		return err
	}
	return changeChannel(c, func(repo *repository.Repository, keys repository.Signers) (*repository.ChannelChange, error) {
		return repo.Withdraw(c.Context, repository.WithdrawOptions{
			Version: version, Channel: c.String("channel"), Arch: c.String("arch"),
			To: c.String("back-to"), Empty: c.Bool("leave-empty"), Keys: keys,
		})
	})
}
