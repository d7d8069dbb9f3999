package repository

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// plainJSON returns a value as JSON says it, numbers as they are written.
func plainJSON(v any) map[string]any {
	data, err := json.Marshal(v)
	if err != nil {
		return map[string]any{"unreadable": err.Error()}
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var plain map[string]any
	if err := d.Decode(&plain); err != nil {
		return map[string]any{"unreadable": err.Error()}
	}
	return plain
}

// rootJSON returns a root as plain JSON.
func rootJSON(root *tuf.RootType) map[string]any { return plainJSON(root) }

// targetsJSON returns targets as plain JSON, with delegations always, and with
// the delegated roles by name, as root.json has them.
func targetsJSON(targets *tuf.TargetsType) map[string]any {
	plain := plainJSON(targets)
	d, ok := plain["delegations"].(map[string]any)
	if !ok {
		d = map[string]any{"keys": map[string]any{}}
		plain["delegations"] = d
	}
	roles := make(map[string]any)
	list, _ := d["roles"].([]any)
	for i, entry := range list {
		name := ""
		if entry, ok := entry.(map[string]any); ok {
			name, _ = entry["name"].(string)
		}
		if roles[name] != nil { // only in a base
			name += "#" + strconv.Itoa(i+1)
		}
		roles[name] = entry
	}
	d["roles"] = roles
	return plain
}

// rolesOf returns the roles in what rootJSON or targetsJSON has returned.
func rolesOf(all map[string]any) map[string]any { return below(all, "roles") }

// keysOf returns the keys likewise.
func keysOf(all map[string]any) map[string]any { return below(all, "keys") }

func below(all map[string]any, name string) map[string]any {
	if d, ok := all["delegations"].(map[string]any); ok {
		all = d
	}
	m, _ := all[name].(map[string]any)
	return m
}

// differences compares two objects field by field, ordered by their paths.
func differences(before, after map[string]any) []Difference {
	list := []Difference{}
	compare("", before, after, &list)
	return list
}

func compare(path string, before, after map[string]any, list *[]Difference) {
	names := make(map[string]bool)
	for name := range before {
		names[name] = true
	}
	for name := range after {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		a, inBefore := before[name]
		b, inAfter := after[name]
		if inBefore && inAfter && reflect.DeepEqual(a, b) {
			continue
		}
		at := path + pathStep(path, name)
		x, isMap1 := a.(map[string]any)
		y, isMap2 := b.(map[string]any)
		if isMap1 && isMap2 {
			compare(at, x, y, list)
			continue
		}
		*list = append(*list, Difference{Path: at, From: written(a, inBefore), To: written(b, inAfter)})
	}
}

// pathStep names a field below a path.
func pathStep(path, name string) string {
	switch {
	case !plainWord(name):
		return "[" + strconv.QuoteToASCII(name) + "]"
	case path == "":
		return name
	}
	return "." + name
}

// plainWord reports whether s can be shown as it is: it came from a file that
// anybody may have written.
func plainWord(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' {
			return false
		}
	}
	return s != ""
}

// written returns a value's JSON, in ASCII.
func written(v any, there bool) string {
	if !there {
		return ""
	}
	data, err := json.Marshal(v)
	if err != nil {
		return strconv.QuoteToASCII(err.Error())
	}
	return ascii(string(data))
}

// ascii escapes what is not printable ASCII, as JSON does it in strings.
func ascii(s string) string {
	quoted := strconv.QuoteToASCII(s)
	unquoted := []byte(quoted[1 : len(quoted)-1])
	return string(bytes.ReplaceAll(bytes.ReplaceAll(unquoted, []byte(`\"`), []byte(`"`)), []byte(`\\`), []byte(`\`)))
}
