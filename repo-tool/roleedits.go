package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata/repository"
)

// publishAlias is what people call the roles that publishing signs.
const publishAlias = "publish"

// roleEditFlags say what to change about roles.
func roleEditFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "add-key", Usage: "let a role be signed by another key too: `ROLE=FILE.pub`; ROLE is root, targets, snapshot, timestamp, channels, releases (publish: these two), or channel-NAME, which is made"},
		&cli.StringSliceFlag{Name: "remove-key", Usage: "take a key from a role: `ROLE=KEY`; KEY is its id or the beginning of it, or FILE.pub"},
		&cli.StringSliceFlag{Name: "threshold", Usage: "how many of its keys must sign a role: `ROLE=N`"},
		&cli.StringSliceFlag{Name: "expiry", Usage: "how long signed metadata of a role lives: `ROLE=DURATION`, such as timestamp=14d or snapshot=36h"},
		&cli.StringSliceFlag{Name: "window", Usage: "how long before its expiry refresh signs a role again: `ROLE=DURATION`"},
		&cli.StringSliceFlag{Name: "remove-role", Usage: "take the keys of its own from a channel: `channel-NAME`"},
	}
}

// edits collects changes by role.
type edits map[string]repository.RoleEdit

// roleEdits returns the changes that the flags ask for.
func roleEdits(c *cli.Context) (edits, error) {
	e := make(edits)
	for _, name := range c.StringSlice("remove-role") {
		e.edit(name, func(edit *repository.RoleEdit) { edit.Gone = true })
	}
	for _, flag := range []struct {
		name string
		set  func(edit *repository.RoleEdit, value string) error
	}{
		{"add-key", addKey},
		{"remove-key", removeKey},
		{"threshold", setThreshold},
		{"expiry", func(edit *repository.RoleEdit, value string) (err error) {
			edit.Expiry, err = parsePeriod(value)
			return err
		}},
		{"window", func(edit *repository.RoleEdit, value string) (err error) {
			edit.Window, err = parsePeriod(value)
			return err
		}},
	} {
		for _, value := range c.StringSlice(flag.name) {
			role, setting, ok := strings.Cut(value, "=")
			if !ok || role == "" || setting == "" {
				return nil, console.Usagef("%s: --%s %q: write ROLE=VALUE; see repo-tool %s --help", commandName(c), flag.name, value, commandName(c))
			}
			var err error
			e.edit(role, func(edit *repository.RoleEdit) {
				if err == nil {
					err = flag.set(edit, setting)
				}
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return e, nil
}

// edit changes the edit of a role, or those of both that publish stands for.
func (e edits) edit(role string, change func(edit *repository.RoleEdit)) {
	roles := []string{role}
	if role == publishAlias {
		roles = []string{repository.Channels, repository.Releases}
	}
	for _, role := range roles {
		edit := e[role]
		change(&edit)
		e[role] = edit
	}
}

func addKey(edit *repository.RoleEdit, path string) error {
	public, err := repository.LoadPublicKey(path)
	if err != nil {
		return err
	}
	edit.Add = append(edit.Add, public)
	return nil
}

// removeKey takes a key away: by its id, or by the public key in a file.
func removeKey(edit *repository.RoleEdit, key string) error {
	if strings.HasSuffix(key, ".pub") {
		public, err := repository.LoadPublicKey(key)
		if err != nil {
			return err
		}
		if key, err = repository.KeyID(public); err != nil {
			return err
		}
	}
	edit.Remove = append(edit.Remove, key)
	return nil
}

func setThreshold(edit *repository.RoleEdit, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n == 0 { // 0 is "as it is" for the library
		return console.Usagef("threshold %q: use a number from 1 on", value)
	}
	edit.Threshold = n
	return nil
}

// parsePeriod parses a duration, in Go's form or in days: 14d.
func parsePeriod(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); err == nil && n > 36500 {
			err = strconv.ErrRange
		}
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 || d%time.Second != 0 {
		return 0, console.Usagef("duration %q: use whole seconds, minutes, hours or days, such as 36h or 14d", s)
	}
	return d, nil
}
