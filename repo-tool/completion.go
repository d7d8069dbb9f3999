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
		Description: examples("Completes commands and flags.",
			"repo-tool completion bash > /etc/bash_completion.d/repo-tool",
			"source <(repo-tool completion bash)"),
		Action: func(c *cli.Context) error {
			if c.Args().Len() != 1 {
				return console.Usagef("completion: name one of bash, zsh, fish")
			}
			script, err := console.Completion(c.App.Name, c.Args().First())
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}
