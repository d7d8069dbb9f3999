package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata"
	"tufboot/metadata/repository"
)

func initCommand() *cli.Command {
	return &cli.Command{
		Name:  "init",
		Usage: "make keys and a signed, empty repository",
		Description: examples(`Makes the private keys (encrypted, readable by you only) and a repository that
vouches for nothing yet. Prints which keys to take offline.`,
			"repo-tool init --repo repo --keys keys",
			"repo-tool init --repo repo --keys keys --root-keys 3 --root-threshold 2",
			"repo-tool init --repo repo --keys keys --key-type ecdsa --password-file pw"),
		Flags: append([]cli.Flag{
			repoFlag(),
			&cli.StringSliceFlag{Name: "keys", Usage: "new folder `DIR` for the private keys", EnvVars: []string{"REPO_TOOL_KEYS"}},
			keyTypeFlag("the keys"),
			&cli.IntFlag{Name: "root-keys", Value: 1, Usage: "make `N` root keys, for as many people"},
			&cli.IntFlag{Name: "root-threshold", Value: 1, Usage: "how many root keys `M` must sign a change of keys"},
			passwordFlag(),
			plaintextFlag(),
		}, expiryFlags()...),
		Action: runInit,
	}
}

// expiryFlags set the policy of each role.
func expiryFlags() []cli.Flag {
	var flags []cli.Flag
	defaults := repository.DefaultPolicy()
	for _, role := range repository.Roles() {
		flags = append(flags,
			&cli.DurationFlag{Name: role + "-expiry", Value: defaults[role].Expiry, Usage: "how long signed " + role + " metadata lives"},
			&cli.DurationFlag{Name: role + "-window", Value: defaults[role].Window, Usage: "how long before its expiry refresh signs " + role + " again"})
	}
	return flags
}

// initResult is what init prints.
type initResult struct {
	Repo    string               `json:"repo"`
	Keys    []repository.KeyFile `json:"keys"`
	Root    string               `json:"root"`    // the root.json that nodes get
	Offline []string             `json:"offline"` // private keys to take offline
}

func runInit(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	if err := require(c, "repo", "keys"); err != nil {
		return err
	}
	dirs := c.StringSlice("keys")
	if len(dirs) != 1 {
		return console.Usagef("init: give --keys once: all keys are made in one folder")
	}
	pass, err := newPassword(c, "Password for the new keys")
	if err != nil {
		return err
	}
	result, err := makeRepository(c, v, c.String("repo"), dirs[0], pass)
	if err != nil {
		return err
	}
	return v.print(c, result, result.text)
}

func makeRepository(c *cli.Context, v common, repo, dir string, pass []byte) (*initResult, error) {
	policy := make(repository.Policy)
	for _, role := range repository.Roles() {
		policy[role] = repository.RolePolicy{Expiry: c.Duration(role + "-expiry"), Window: c.Duration(role + "-window")}
	}
	roles, err := repository.MakeKeys(dir, repository.KeyPlan{
		Type:          repository.KeyType(c.String("key-type")),
		RootKeys:      c.Int("root-keys"),
		RootThreshold: c.Int("root-threshold"),
	}, pass)
	if err != nil {
		return nil, err
	}
	keys, err := repository.OpenKeys([]string{dir}, func(string) ([]byte, error) { return pass, nil })
	if err != nil {
		return nil, err
	}
	if _, err := repository.Create(c.Context, repo, repository.CreateOptions{
		Options: v.options(),
		Roles:   roles,
		Keys:    keys,
		Policy:  policy,
	}); err != nil {
		return nil, err
	}
	if err := repository.FinishKeys(dir); err != nil {
		return nil, err
	}
	result := &initResult{Repo: repo, Keys: keys.Files(), Root: filepath.Join(repo, metadata.MetadataDir, "1.root.json")}
	for _, key := range keys.Files() {
		if strings.HasPrefix(filepath.Base(key.Path), repository.Root) {
			result.Offline = append(result.Offline, key.Path)
		}
	}
	return result, nil
}

func (r *initResult) text(w io.Writer) {
	fmt.Fprintf(w, "repository: %s\n", r.Repo)
	for _, key := range r.Keys {
		fmt.Fprintf(w, "key: %s  %s  %s\n", key.ID[:12], key.Type, key.Path)
	}
	fmt.Fprintf(w, "\nNodes trust this repository by %s: build it into them.\n", r.Root)
	fmt.Fprintf(w, "Take these keys offline now, each to a place of its own. They are needed to\nchange keys, and once a year:\n")
	for _, path := range r.Offline {
		fmt.Fprintf(w, "  %s\n", path)
	}
	fmt.Fprintf(w, "Publishing needs the keys targets, snapshot and timestamp; refresh needs\nsnapshot and timestamp only.\n")
}
