package main

import (
	"github.com/urfave/cli/v2"
)

// keyCommand holds the commands about keys: a file each.
func keyCommand() *cli.Command {
	return &cli.Command{
		Name:  "key",
		Usage: "make and test the keys that sign, and change who may sign",
		Description: examples(`A key is two files in a folder: NAME.pub, and NAME.key (the private key) or
NAME.uri (where a key is that never leaves its device or service).`,
			"repo-tool key generate --out keys --name alice",
			"repo-tool key self-test --keys keys"),
		Subcommands: []*cli.Command{
			// The key files themselves; these commands know no repository.
			keyGenerateCommand(),
			keyLinkCommand(),
			keySelfTestCommand(),
			// Who may sign: these commands change or show a repository.
			keyListCommand(),
			keyAddCommand(),
			keyRemoveCommand(),
			keyRotateCommand(),
		},
	}
}

// newKeyFlags are the flags of the commands that add a key to a folder.
func newKeyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "out", Usage: "folder `DIR` for the key; it is made if it is not there"},
		&cli.StringFlag{Name: "name", Usage: "`NAME` of the key's files"},
	}
}
