package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
)

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a shell's completion script",
		ArgsUsage: "bash|zsh|fish",
		Description: `Examples:

   agent completion bash > /etc/bash_completion.d/agent
   source <(agent completion bash)`,
		Action: func(c *cli.Context) error {
			script, err := console.Completion(c.App.Name, c.Args().First())
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}
