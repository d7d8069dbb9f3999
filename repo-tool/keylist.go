package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"tufboot/metadata/repository"
)

func keyListCommand() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "show who may sign, and which private keys are at hand",
		Description: examples(`Shows the keys and the threshold of each role. With --keys it says which private
keys are in these folders, and whether they are enough. It asks for no password.`,
			"repo-tool key list --repo repo",
			"repo-tool key list --repo repo --keys online-keys --keys /media/usb --json"),
		Flags:  append([]cli.Flag{repoFlag()}, keysFlags()...),
		Action: runKeyList,
	}
}

// listedRole is a role with what is at hand of it.
type listedRole struct {
	Role      string      `json:"role"`
	Threshold int         `json:"threshold"`
	AtHand    int         `json:"at_hand"` // keys whose private half is here
	Keys      []listedKey `json:"keys"`
}

type listedKey struct {
	repository.RoleKey
	Paths []string `json:"paths"` // of the private key
}

func runKeyList(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	repo, err := openRepo(c, v)
	if err != nil {
		return err
	}
	paths := make(map[string][]string)
	if c.IsSet("keys") {
		keys, err := openKeys(c)
		if err != nil {
			return err
		}
		for _, file := range keys.Files() {
			paths[file.ID] = append(paths[file.ID], file.Path)
		}
	}
	authorities, err := repo.Authorities(c.Context)
	if err != nil {
		return err
	}
	roles := listRoles(authorities, paths)
	return v.print(c, roles, func(w io.Writer) { printRoles(w, roles) })
}

func listRoles(authorities []repository.RoleAuthority, paths map[string][]string) []listedRole {
	var roles []listedRole
	for _, a := range authorities {
		role := listedRole{Role: a.Role, Threshold: a.Threshold, Keys: []listedKey{}}
		for _, key := range a.Keys {
			listed := listedKey{RoleKey: key, Paths: []string{}}
			if p := paths[key.ID]; p != nil {
				listed.Paths = p
				role.AtHand++
			}
			role.Keys = append(role.Keys, listed)
		}
		roles = append(roles, role)
	}
	return roles
}

func printRoles(w io.Writer, roles []listedRole) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ROLE\tNEEDS\tAT HAND\tKEY\tTYPE\tPRIVATE KEY")
	for _, role := range roles {
		first := fmt.Sprintf("%s\t%d of %d\t%d", role.Role, role.Threshold, len(role.Keys), role.AtHand)
		for _, key := range role.Keys {
			where := strings.Join(key.Paths, ", ")
			if where == "" {
				where = "-"
			}
			fmt.Fprintf(table, "%s\t%.12s\t%s\t%s\n", first, key.ID, key.Type, where)
			first = "\t\t"
		}
	}
	table.Flush()
}
