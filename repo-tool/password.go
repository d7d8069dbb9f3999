package main

import (
	"bytes"
	"errors"
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

// passwordGiven reports whether there is a password without asking for it.
func passwordGiven(c *cli.Context) bool {
	_, set := os.LookupEnv(passwordVariable)
	return set || c.String("password-file") != ""
}

// openKeys opens the folders of --keys. A password that was given is used for
// all keys; on a terminal each key's is asked for.
func openKeys(c *cli.Context) (*repository.KeyDir, error) {
	return openKeysWith(c, func(path string) ([]byte, error) { return keyPassword(c, path) })
}

func openKeysWith(c *cli.Context, password repository.PasswordFunc) (*repository.KeyDir, error) {
	v, err := commonOf(c)
	if err != nil {
		return nil, err
	}
	if err := require(c, "keys"); err != nil {
		return nil, err
	}
	keys, err := repository.OpenKeys(c.StringSlice("keys"), password)
	if err != nil {
		return nil, err
	}
	keys.Logger = v.logger
	return keys, nil
}

func keyPassword(c *cli.Context, path string) ([]byte, error) {
	p, err := password(c, "Password of "+path, false)
	if err != nil {
		return nil, &repository.PasswordError{Err: err}
	}
	return p, nil
}

// signingKeys are the keys of a command that locks the repository. While it is
// locked nobody is asked for a password: a scheduler would have to wait for
// somebody who looks for it.
type signingKeys struct {
	*repository.KeyDir
	typed  map[string][]byte // by the path of the key
	wanted string            // path of the key to ask about
}

func openSigningKeys(c *cli.Context) (*signingKeys, error) {
	keys := &signingKeys{typed: make(map[string][]byte)}
	var err error
	keys.KeyDir, err = openKeysWith(c, func(path string) ([]byte, error) {
		if p := keys.typed[path]; p != nil {
			return p, nil
		}
		if passwordGiven(c) || !console.IsTerminal(os.Stdin) {
			return keyPassword(c, path)
		}
		keys.wanted = path
		return nil, repository.ErrAskFirst
	})
	return keys, err
}

// signWith runs do, which locks the repository and signs with the keys, as often as it
// takes to ask for their passwords in between, and to wait as --wait says.
func signWith[T any](c *cli.Context, keys *signingKeys, do func() (T, error)) (T, error) {
	for {
		result, err := whenFree(c, do)
		if !errors.Is(err, repository.ErrAskFirst) {
			return result, err
		}
		if keys.typed[keys.wanted], err = keyPassword(c, keys.wanted); err != nil {
			return result, err
		}
	}
}

// openToSign returns what commands need that sign: the repository that --repo
// names, and the keys.
func openToSign(c *cli.Context, v common) (*repository.Repository, *signingKeys, error) {
	if err := require(c, "repo"); err != nil {
		return nil, nil, err
	}
	keys, err := openSigningKeys(c)
	if err != nil {
		return nil, nil, err
	}
	repo, err := openRepo(c, v)
	return repo, keys, err
}
