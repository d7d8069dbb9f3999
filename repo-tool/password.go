package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"tufboot/internal/console"
	"tufboot/metadata/repository"
)

const passwordVariable = "REPO_TOOL_PASSWORD"

func passwordFlag() cli.Flag {
	return &cli.StringFlag{
		Name:    "password-file",
		Usage:   "read the keys' password from `FILE`; else " + passwordVariable + ", else a prompt",
		EnvVars: []string{"REPO_TOOL_PASSWORD_FILE"},
	}
}

func plaintextFlag() cli.Flag {
	return &cli.BoolFlag{Name: "unsafe-plaintext-keys", Usage: "do not encrypt the private keys"}
}

// newPassword returns the password for keys that are about to be made, nil if
// they are to stay unencrypted.
func newPassword(c *cli.Context, prompt string) ([]byte, error) {
	if c.Bool("unsafe-plaintext-keys") {
		return nil, nil
	}
	return password(c, prompt, true)
}

// password returns the password from where the user has put it: a file, a
// variable, or the terminal, where it is asked for (twice if it is a new one).
func password(c *cli.Context, prompt string, confirm bool) ([]byte, error) {
	if path := c.String("password-file"); path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("password: %w", err)
		}
		return checkPassword(bytes.TrimRight(data, "\r\n"))
	}
	if value, set := os.LookupEnv(passwordVariable); set {
		return checkPassword([]byte(value))
	}
	if !console.IsTerminal(os.Stdin) {
		return nil, console.Usagef("%s: no password: give --password-file or %s, or run on a terminal", prompt, passwordVariable)
	}
	first, err := ask(c, prompt)
	if err != nil || !confirm {
		return first, err
	}
	second, err := ask(c, prompt+", again")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, console.Usagef("the two passwords differ")
	}
	return first, nil
}

func ask(c *cli.Context, prompt string) ([]byte, error) {
	fmt.Fprintf(c.App.ErrWriter, "%s: ", prompt)
	answer, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(c.App.ErrWriter)
	if err != nil {
		return nil, fmt.Errorf("read password: %w", err)
	}
	return checkPassword(answer)
}

// checkPassword refuses the empty password: it protects nothing, and is more
// likely an unset variable or an empty file.
func checkPassword(p []byte) ([]byte, error) {
	if len(p) == 0 {
		return nil, console.Usagef("the password is empty")
	}
	return p, nil
}

// openKeys opens the folders of --keys. A password that was given is used for
// all keys; on a terminal each key's is asked for.
func openKeys(c *cli.Context) (*repository.KeyDir, error) {
	v, err := commonOf(c)
	if err != nil {
		return nil, err
	}
	if err := require(c, "keys"); err != nil {
		return nil, err
	}
	keys, err := repository.OpenKeys(c.StringSlice("keys"), func(path string) ([]byte, error) {
		p, err := password(c, "Password of "+path, false)
		if err != nil {
			return nil, &repository.PasswordError{Err: err}
		}
		return p, nil
	})
	if err != nil {
		return nil, err
	}
	keys.Logger = v.logger
	return keys, nil
}

// openToSign returns what commands need that sign: the repository that --repo
// names, and the keys.
func openToSign(c *cli.Context, v common) (*repository.Repository, *repository.KeyDir, error) {
	if err := require(c, "repo"); err != nil {
		return nil, nil, err
	}
	keys, err := openKeys(c)
	if err != nil {
		return nil, nil, err
	}
	repo, err := openRepo(c, v)
	return repo, keys, err
}
