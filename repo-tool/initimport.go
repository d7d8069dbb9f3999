package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata"
	"tufboot/metadata/repository"
)

// importFlags belong to init.
func importFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "import", Usage: "take over the repository at `PLACE`, a folder, bucket or address that another TUF tool has filled"},
		&cli.StringSliceFlag{Name: "old-keys", Usage: "with --import: folder `DIR` with private keys of the old repository, of its root as many as must sign; can be given several times"},
		&cli.StringSliceFlag{Name: "replace", Usage: "with --import: give `ROLE` (root, targets, snapshot or timestamp) new keys; can be given several times"},
	}
}

// importResult is what init --import prints.
type importResult struct {
	*repository.Imported
	Repo string               `json:"repo"`
	Keys []repository.KeyFile `json:"keys"` // that were made
	Root string               `json:"root"` // the newest root.json
}

// checkImport refuses flags that would have no effect, before any key is made.
func checkImport(c *cli.Context) error {
	if !c.IsSet("import") {
		for _, name := range []string{"old-keys", "replace"} {
			if c.IsSet(name) {
				return console.Usagef("init: --%s goes with --import", name)
			}
		}
		return nil
	}
	more, err := roleKeys(c.StringSlice("role-keys"))
	if err != nil {
		return err
	}
	replaced := c.StringSlice("replace")
	for role := range more {
		if role != repository.Releases && !slices.Contains(replaced, role) {
			return console.Usagef("init: %s keeps its keys: give --replace %s with --role-keys", role, role)
		}
	}
	if (c.IsSet("root-keys") || c.IsSet("root-threshold")) && !slices.Contains(replaced, repository.Root) {
		return console.Usagef("init: root keeps its keys: give --replace root with --root-keys and --root-threshold")
	}
	return require(c, "old-keys")
}

func runImport(c *cli.Context, v common, dir string, pass []byte) error {
	from, err := openReader(c, "import")
	if err != nil {
		return err
	}
	to, err := openStore(c, "repo")
	if err != nil {
		return err
	}
	roles, err := newRoleKeys(c, dir, pass)
	if err != nil {
		return err
	}
	made, err := repository.OpenKeys([]string{dir}, nil)
	if err != nil {
		return err
	}
	opts := repository.ImportOptions{Options: v.options(), Roles: roles, Policy: changedPolicy(c)}
	if opts.Keys, err = importKeys(c, dir, pass); err != nil {
		return err
	}
	bars := &bars{}
	opts.Progress = bars.progress(v, "copy")
	imported, err := repository.Import(c.Context, from, to, opts)
	bars.close()
	if err != nil {
		return err
	}
	if err := repository.FinishKeys(dir); err != nil {
		return err
	}
	result := &importResult{Imported: imported, Repo: c.String("repo"), Keys: made.Files()}
	result.Root = fmt.Sprintf("%s/%s/%d.root.json", strings.TrimSuffix(result.Repo, "/"), metadata.MetadataDir, imported.Versions.Root)
	return v.print(c, result, result.text)
}

// newRoleKeys makes the keys for publishing and for the roles of --replace.
func newRoleKeys(c *cli.Context, dir string, pass []byte) (map[string]repository.RoleKeys, error) {
	only := []string{repository.Releases}
	for _, role := range c.StringSlice("replace") {
		if !slices.Contains(repository.Roles(), role) {
			return nil, console.Usagef("init: --replace %q: use root, targets, snapshot or timestamp", role)
		}
		if !slices.Contains(only, role) {
			only = append(only, role)
		}
	}
	more, err := roleKeys(c.StringSlice("role-keys"))
	if err != nil {
		return nil, err
	}
	return repository.MakeKeysFor(c.Context, dir, repository.KeyPlan{
		More:          more,
		Type:          repository.KeyType(c.String("key-type")),
		RootKeys:      c.Int("root-keys"),
		RootThreshold: c.Int("root-threshold"),
	}, only, pass)
}

// importKeys opens the old keys, each with its own password, and the new ones.
func importKeys(c *cli.Context, dir string, pass []byte) (*repository.KeyDir, error) {
	return repository.OpenKeys(append(c.StringSlice("old-keys"), dir), func(path string) ([]byte, error) {
		if filepath.Dir(path) == filepath.Clean(dir) {
			return pass, nil
		}
		p, err := password(c, "Password of "+path, false)
		if err != nil {
			return nil, &repository.PasswordError{Err: err}
		}
		return p, nil
	})
}

// changedPolicy returns the policy of the roles whose flags are given; the others
// keep theirs.
func changedPolicy(c *cli.Context) repository.Policy {
	policy := make(repository.Policy)
	for _, role := range repository.Roles() {
		if c.IsSet(role+"-expiry") || c.IsSet(role+"-window") {
			policy[role] = repository.RolePolicy{Expiry: c.Duration(role + "-expiry"), Window: c.Duration(role + "-window")}
		}
	}
	return policy
}

func (r *importResult) text(w io.Writer) {
	fmt.Fprintf(w, "taken over: %d roots, %d targets, %d bytes from %s\n", r.Roots, r.Targets, r.Bytes, r.From)
	fmt.Fprintf(w, "repository: %s\n", r.Repo)
	for _, key := range r.Keys {
		fmt.Fprintf(w, "new key: %s  %s  %s\n", key.ID[:12], key.Type, key.Path)
	}
	fmt.Fprintf(w, "\nClients that trust any root of the old repository walk on into this one, as soon\nas it is handed out at the old address. New nodes get %s.\n", r.Root)
	fmt.Fprintf(w, "Publish with the new tool only from now on: two branches of one repository\ncannot be joined again.\n")
}
