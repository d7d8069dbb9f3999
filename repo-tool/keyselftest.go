package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/metadata/repository"
)

func keySelfTestCommand() *cli.Command {
	return &cli.Command{
		Name:  "self-test",
		Usage: "let every key sign something, and verify it",
		Description: examples(`Opens each key in the folders, has it sign something random, and verifies that as
clients do: so a forgotten password, a lost card or a locked HSM is found before
the day on which the key is needed. Exits with 1 if a key fails. It needs no
repository and changes nothing.`,
			"repo-tool key self-test --keys keys",
			"repo-tool key self-test --keys /media/usb --keys keys --json"),
		Flags:  append(keysFlags(), timeoutFlag()),
		Action: runKeySelfTest,
	}
}

// timeoutFlag bounds what a KMS or a plugin does.
func timeoutFlag() cli.Flag {
	return &cli.DurationFlag{Name: "timeout", Value: time.Minute, Usage: "how long a KMS or a plugin may take for one answer, a person's touch included, a `DURATION`"}
}

func runKeySelfTest(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	keys, err := openKeys(c)
	if err != nil {
		return err
	}
	keys.Logger = nil // the results hold the warnings
	keys.Timeout = c.Duration("timeout")
	tests := repository.SelfTest(c.Context, keys)
	if err := v.print(c, tests, func(w io.Writer) { printKeyTests(w, tests) }); err != nil {
		return err
	}
	if len(tests) == 0 {
		return fmt.Errorf("there are no keys in %s", strings.Join(c.StringSlice("keys"), ", "))
	}
	failed := 0
	for _, test := range tests {
		if !test.OK {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d keys cannot sign", failed, len(tests))
	}
	return nil
}

func printKeyTests(w io.Writer, tests []repository.KeyTest) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KEY\tTYPE\tRESULT\tTOOK\tPATH")
	for _, test := range tests {
		result := "ok"
		if !test.OK {
			result = "FAILED"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%v\t%s\n", test.ID[:12], test.Type, result, test.Duration.Round(time.Millisecond), test.Path)
	}
	table.Flush()
	for _, test := range tests {
		if test.Error != "" {
			fmt.Fprintf(w, "%s: %s\n", test.Path, test.Error)
		}
		if test.Hint != "" {
			fmt.Fprintf(w, "%s: what to do: %s\n", test.Path, test.Hint)
		}
		if test.Warning != "" {
			fmt.Fprintf(w, "%s: warning: %s\n", test.Path, test.Warning)
		}
	}
}
