package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tufboot/internal/atomicfile"
	"tufboot/internal/console"
	"tufboot/metadata"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

func initCommand() *cli.Command {
	return &cli.Command{
		Name:  "init",
		Usage: "make keys and a signed, empty repository",
		Description: examples(`Makes the private keys (encrypted, readable by you only) and a repository that
vouches for nothing yet. Prints which keys to take offline.

With --import it takes over a repository that another TUF tool has made: the new
one keeps its chain of roots, its targets and the keys of its roles, so that
clients of the old one walk on into it. Keys are made for publishing only, and for
the roles of --replace.`,
			"repo-tool init --repo repo --keys keys",
			"repo-tool init --repo repo --keys keys --root-keys 3 --root-threshold 2",
			"repo-tool init --repo repo --keys keys --key-type ecdsa --password-file pw",
			"repo-tool init --import old --old-keys old-keys --repo repo --keys keys"),
		Flags: append([]cli.Flag{
			repoFlag(),
			&cli.StringSliceFlag{Name: "keys", Usage: "new folder `DIR` for the private keys", EnvVars: []string{"REPO_TOOL_KEYS"}},
			keyTypeFlag("the keys"),
			&cli.IntFlag{Name: "root-keys", Value: 1, Usage: "make `N` root keys, for as many people"},
			&cli.IntFlag{Name: "root-threshold", Value: 1, Usage: "how many root keys `M` must sign a change of keys"},
			&cli.StringSliceFlag{Name: "role-keys", Usage: "make other roles' keys too: `ROLE=N/M`, of which M must sign; ROLE is targets, publish, snapshot or timestamp"},
			passwordFlag(),
			plaintextFlag(),
		}, slices.Concat(importFlags(), expiryFlags())...),
		Action: runInit,
	}
}

// expiryFlags set the policy of each role.
func expiryFlags() []cli.Flag {
	var flags []cli.Flag
	defaults := repository.DefaultPolicy()
	for _, role := range repository.Roles() {
		flags = append(flags,
			&cli.DurationFlag{Name: role + "-expiry", Value: defaults[role].Expiry, Usage: "how long signed " + role + " metadata lives, a `DURATION`"},
			&cli.DurationFlag{Name: role + "-window", Value: defaults[role].Window, Usage: "how long before its expiry refresh signs " + role + " again, a `DURATION`"})
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
	if err := checkImport(c); err != nil {
		return err
	}
	if err := checkApart(c.String("repo"), dirs[0]); err != nil {
		return err
	}
	pass, err := newPassword(c, "Password for the new keys")
	if err != nil {
		return err
	}
	if c.IsSet("import") {
		return runImport(c, v, dirs[0], pass)
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
	more, err := roleKeys(c.StringSlice("role-keys"))
	if err != nil {
		return nil, err
	}
	store, err := openStore(c, "repo")
	if err != nil {
		return nil, err
	}
	if err := repository.CheckNew(c.Context, store, dir, policy); err != nil {
		return nil, err
	}
	roles, err := repository.MakeKeysFor(c.Context, dir, repository.KeyPlan{
		More:          more,
		Type:          repository.KeyType(c.String("key-type")),
		RootKeys:      c.Int("root-keys"),
		RootThreshold: c.Int("root-threshold"),
	}, repository.AllKeys(), pass)
	if err != nil {
		return nil, err
	}
	keys, err := repository.OpenKeys([]string{dir}, func(string) ([]byte, error) { return pass, nil })
	if err != nil {
		return nil, err
	}
	if _, err := repository.Create(c.Context, store, repository.CreateOptions{
		Options: v.options(),
		Roles:   roles,
		Keys:    keys,
		Policy:  policy,
	}); err != nil {
		return nil, err
	}
	if err := pinRoot(c.Context, dir, store); err != nil {
		return nil, err
	}
	if err := repository.FinishKeys(dir); err != nil {
		return nil, err
	}
	result := &initResult{Repo: repo, Keys: keys.Files(), Root: strings.TrimSuffix(repo, "/") + "/" + metadata.MetadataDir + "/1.root.json"}
	for _, key := range keys.Files() {
		name := filepath.Base(key.Path)
		if strings.HasPrefix(name, repository.Root) || strings.HasPrefix(name, repository.Targets) {
			result.Offline = append(result.Offline, key.Path)
		}
	}
	return result, nil
}

// pinRoot puts the repository's first root beside its keys: they sign for no
// other repository from then on.
func pinRoot(ctx context.Context, dir string, store storage.Store) error {
	const maxRoot = 1 << 20
	root, _, err := storage.ReadFile(ctx, store, metadata.MetadataDir+"/1.root.json", maxRoot)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, pinnedFile), root, 0o644)
}

// roleKeys parses the values of --role-keys.
func roleKeys(values []string) (map[string]repository.KeyCount, error) {
	names := map[string]string{
		"targets": repository.Targets, "publish": repository.Releases,
		"snapshot": repository.Snapshot, "timestamp": repository.Timestamp,
	}
	counts := make(map[string]repository.KeyCount)
	for _, value := range values {
		var n, m int
		name, numbers, _ := strings.Cut(value, "=")
		if got, err := fmt.Sscanf(numbers, "%d/%d", &n, &m); names[name] == "" || err != nil || got != 2 || fmt.Sprintf("%d/%d", n, m) != numbers {
			return nil, console.Usagef("init: --role-keys %q: write ROLE=N/M, such as targets=3/2, with ROLE one of targets, publish, snapshot, timestamp", value)
		}
		counts[names[name]] = repository.KeyCount{Keys: n, Threshold: m}
	}
	return counts, nil
}

func (r *initResult) text(w io.Writer) {
	fmt.Fprintf(w, "repository: %s\n", r.Repo)
	for _, key := range r.Keys {
		fmt.Fprintf(w, "key: %s  %s  %s\n", key.ID[:12], key.Type, key.Path)
	}
	fmt.Fprintf(w, "\nNodes trust this repository by %s: build it into them.\n", r.Root)
	fmt.Fprintf(w, "Take these keys offline now, each to a place of its own. They are needed to\nchange keys or channels' keys, and once a year:\n")
	for _, path := range r.Offline {
		fmt.Fprintf(w, "  %s\n", path)
	}
	fmt.Fprintf(w, "Publishing needs the keys publish, snapshot and timestamp; refresh needs\nsnapshot and timestamp only.\n")
}
