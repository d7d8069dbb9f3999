package main

import (
	"io"

	"github.com/urfave/cli/v2"

	"tufboot/metadata/repository"
)

func keyLinkCommand() *cli.Command {
	return &cli.Command{
		Name:  "link",
		Usage: "use a key that is in a KMS, a smart card or an HSM",
		Description: examples(`Asks for the public key, has something signed, and writes NAME.uri and NAME.pub.
From then on NAME is a key like any other. The URI is one of sigstore's
(awskms://, azurekms://, gcpkms:// and hashivault://, where they are linked in)
or names a plugin: SCHEME://... is spoken to by the program sigstore-kms-SCHEME.
No PIN or password belongs into it: docs/hardware-keys.md says where they go.`,
			"repo-tool key link --out keys --name timestamp --uri awskms:///alias/timestamp",
			"repo-tool key link --out keys --name timestamp --uri 'pkcs11:token=release;object=timestamp'",
			"repo-tool key link --out keys --name root-1 --create ecdsa-p256 --uri 'pkcs11:token=alice;object=root'"),
		Flags: append(newKeyFlags(),
			&cli.StringFlag{Name: "uri", Usage: "`URI` of the key"},
			&cli.StringFlag{Name: "create", Usage: "make the key there first; `ALGORITHM` is a name that the KMS or plugin knows"},
			timeoutFlag(),
		),
		Action: runKeyLink,
	}
}

func runKeyLink(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	if err := require(c, "out", "name", "uri"); err != nil {
		return err
	}
	file, err := repository.LinkKey(c.Context, repository.LinkOptions{
		Dir:     c.String("out"),
		Name:    c.String("name"),
		URI:     c.String("uri"),
		Create:  c.String("create"),
		Timeout: c.Duration("timeout"),
	})
	if err != nil {
		return err
	}
	return v.print(c, file, func(w io.Writer) { printKeyFile(w, file) })
}
