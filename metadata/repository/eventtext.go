package repository

import (
	"crypto/sha256"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// WriteText writes the changes for people to read before they sign. It is
// plain ASCII, whatever the event holds, and the same for the same changes.
func (c *Changes) WriteText(w io.Writer) {
	fmt.Fprintf(w, "event %s\n", c.Event)
	if c.Base == nil {
		fmt.Fprintf(w, "makes a new repository\n")
	} else {
		fmt.Fprintf(w, "starts from root version %d (SHA-256 %s)\n", c.Base.RootVersion, c.Base.RootSHA256)
		if c.Base.TargetsVersion > 0 {
			fmt.Fprintf(w, "       and targets version %d (SHA-256 %s)\n", c.Base.TargetsVersion, c.Base.TargetsSHA256)
		}
	}
	c.Root.writeText(w, Root)
	c.Targets.writeText(w, Targets)
	fmt.Fprintf(w, "\nsignatures:\n")
	for _, need := range c.Signatures {
		need.writeText(w)
	}
}

func (c *MetadataChange) writeText(w io.Writer, name string) {
	if c == nil {
		return
	}
	if c.Version.From == 0 {
		fmt.Fprintf(w, "\n%s: version %d, expires %s\n", name, c.Version.To, date(c.Expires.To))
	} else {
		fmt.Fprintf(w, "\n%s: version %d -> %d, expires %s -> %s\n", name,
			c.Version.From, c.Version.To, date(c.Expires.From), date(c.Expires.To))
	}
	if c.Skipped > 0 {
		fmt.Fprintf(w, "  SKIPS %d NUMBERS: what was published under versions %d to %d would be undone\n",
			c.Skipped, c.Version.From+1, c.Version.To-1)
	}
	for _, role := range c.Roles {
		role.writeText(w)
	}
	for _, role := range c.Unchanged {
		role.writeText(w)
	}
	if c.Order != nil {
		fmt.Fprintf(w, "  order of roles: %s -> %s\n", words(c.Order.From), words(c.Order.To))
	}
	if len(c.Other) > 0 {
		fmt.Fprintf(w, "  OTHER CHANGES:\n")
		for _, d := range c.Other {
			fmt.Fprintf(w, "    %s: %s -> %s\n", d.Path, cutShort(d.From), cutShort(d.To))
		}
	}
}

func (u UnchangedRole) writeText(w io.Writer) {
	var ids []string
	for _, key := range u.Keys {
		ids = append(ids, shortID(key.ID))
	}
	fmt.Fprintf(w, "  no change: %s, %d of %d keys: %s\n", word(u.Role), u.Threshold, len(u.Keys), words(ids))
}

func (c RoleChange) writeText(w io.Writer) {
	name := word(c.Role)
	switch {
	case c.New:
		fmt.Fprintf(w, "  new role %s: %d of %d keys\n", name, c.Threshold.To, c.Keys.To)
	case c.Gone:
		fmt.Fprintf(w, "  role %s is removed; it had %d of %d keys\n", name, c.Threshold.From, c.Keys.From)
	case c.Threshold.From == c.Threshold.To && c.Keys.From == c.Keys.To:
		fmt.Fprintf(w, "  role %s: %d of %d keys, as before\n", name, c.Threshold.To, c.Keys.To)
	default:
		fmt.Fprintf(w, "  role %s: %d of %d keys -> %d of %d keys\n", name, c.Threshold.From, c.Keys.From, c.Threshold.To, c.Keys.To)
	}
	for _, key := range c.Removed {
		fmt.Fprintf(w, "    - key %s %s\n", word(string(key.Type)), word(key.ID))
	}
	for _, key := range c.Added {
		fmt.Fprintf(w, "    + key %s %s\n", word(string(key.Type)), word(key.ID))
	}
	if c.Gone {
		return
	}
	if c.Paths != nil {
		fmt.Fprintf(w, "    vouches for: %s\n", fromTo(c.New, words(c.Paths.From), words(c.Paths.To)))
	}
	if c.Terminating != nil {
		fmt.Fprintf(w, "    alone (terminating): %s\n", fromTo(c.New, yes(c.Terminating.From), yes(c.Terminating.To)))
	}
	if c.Expiry != nil {
		fmt.Fprintf(w, "    expires after: %s\n", fromTo(c.New, period(c.Expiry.From), period(c.Expiry.To)))
	}
	if c.Window != nil {
		fmt.Fprintf(w, "    signed again in the last: %s\n", fromTo(c.New, period(c.Window.From), period(c.Window.To)))
	}
}

func (n SignatureNeed) writeText(w io.Writer) {
	which := map[string]string{"old": "old keys", "new": "new keys", "all": "keys"}[n.Keys]
	verb, state := "needs", "enough"
	switch more := n.Threshold - len(n.Signed); {
	case more > 0 && n.Required:
		state = fmt.Sprintf("%d MORE NEEDED", more)
	case more > 0:
		verb, state = "would like", "without more, a client that reads in the middle of the change fails once"
	}
	have := "have"
	if len(n.Signed) == 1 {
		have = "has"
	}
	fmt.Fprintf(w, "  %s %s %d of its %d %s: %d %s signed, %s\n",
		n.Metadata, verb, n.Threshold, len(n.Signed)+len(n.Missing), which, len(n.Signed), have, state)
	for _, key := range n.Signed {
		fmt.Fprintf(w, "    signed   %s %s\n", word(string(key.Type)), word(key.ID))
	}
	for _, key := range n.Missing {
		fmt.Fprintf(w, "    missing  %s %s\n", word(string(key.Type)), word(key.ID))
	}
}

// fromTo shows a change, or only what is new.
func fromTo(isNew bool, from, to string) string {
	if isNew {
		return to
	}
	return from + " -> " + to
}

func date(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// period shows a number of seconds; 0 is not said.
func period(seconds int64) string {
	for _, unit := range []struct {
		seconds int64
		name    string
	}{{86400, "day"}, {3600, "hour"}, {60, "minute"}} {
		if n := seconds / unit.seconds; n == 1 && seconds == unit.seconds {
			return "1 " + unit.name
		} else if n > 0 && seconds%unit.seconds == 0 {
			return strconv.FormatInt(n, 10) + " " + unit.name + "s"
		}
	}
	if seconds == 0 {
		return "not said"
	}
	return strconv.FormatInt(seconds, 10) + " seconds"
}

// word shows a word from the event, quoted if it is an odd one.
func word(s string) string {
	for _, r := range s {
		if r <= ' ' || r > '~' || r == '"' || r == ',' {
			return strconv.QuoteToASCII(s)
		}
	}
	if s == "" {
		return `""`
	}
	return s
}

func words(list []string) string {
	shown := make([]string, len(list))
	for i, s := range list {
		shown[i] = word(s)
	}
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(shown, ", ")
}

// cutShort shows JSON, of a long one the beginning and the hash.
func cutShort(s string) string {
	const most = 400
	switch {
	case s == "":
		return "nothing"
	case len(s) > most:
		return fmt.Sprintf("%s... (%d bytes, SHA-256 %x)", s[:most], len(s), sha256.Sum256([]byte(s)))
	}
	return s
}
