package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"tufboot/metadata/repository"
)

func keyGenerateCommand() *cli.Command {
	return &cli.Command{
		Name:  "generate",
		Usage: "make a private key",
		Description: examples(`Writes NAME.key (encrypted, readable by you only) and NAME.pub. Nobody trusts the
key yet: give NAME.pub, never NAME.key, to whoever keeps the repository.`,
			"repo-tool key generate --out keys --name alice",
			"repo-tool key generate --out keys --name alice --key-type ecdsa --password-file pw"),
		Flags: append(newKeyFlags(), keyTypeFlag("the key"), passwordFlag(), plaintextFlag()),
		Action: func(c *cli.Context) error {
			v, err := commonOf(c)
			if err != nil {
				return err
			}
			if err := require(c, "out", "name"); err != nil {
				return err
			}
			pass, err := newPassword(c, "Password for the new key")
			if err != nil {
				return err
			}
			file, err := repository.GenerateKeyFile(c.String("out"), c.String("name"), repository.KeyType(c.String("key-type")), pass)
			if err != nil {
				return err
			}
			return v.print(c, file, func(w io.Writer) { printKeyFile(w, file) })
		},
	}
}

func keyTypeFlag(of string) cli.Flag {
	return &cli.StringFlag{Name: "key-type", Value: string(repository.Ed25519), Usage: "`TYPE` of " + of + ": ed25519, ecdsa (P-256) or rsa (PSS)"}
}

// printKeyFile tells of a key that was just added to a folder.
func printKeyFile(w io.Writer, file repository.KeyFile) {
	fmt.Fprintf(w, "key: %s\n", file.ID)
	fmt.Fprintf(w, "type: %s\n", file.Type)
	fmt.Fprintf(w, "private: %s\n", file.Path)
	fmt.Fprintf(w, "public: %s\n", file.PublicPath())
}
