package repository

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestNothingChangesUnseen changes, adds and removes every field of proposed
// metadata, one at a time: whatever is still accepted must be seen in Changes.
func TestNothingChangesUnseen(t *testing.T) {
	r, k := ceremonyRepo(t)
	k.add("root-4", "targets-2", "stable-1", "stable-2")
	e := propose(t, r, map[string]RoleEdit{
		Root:                  {Remove: []string{k.id("root-1")}, Add: k.publics("root-4")},
		Targets:               {Remove: []string{k.id("targets")}, Add: k.publics("targets-2")},
		ChannelRole("stable"): {Add: k.publics("stable-1", "stable-2"), Threshold: 2},
	})
	fresh := proposeNew(t, k, start)
	for name, e := range map[string]*Event{"change": e, "new": fresh} {
		t.Run(name, func(t *testing.T) {
			seen := map[string]string{changesOnly(t, e): e.ID()}
			for path, variant := range variants(t, encoded(t, e)) {
				c, err := ParseEvent(variant)
				if err != nil {
					continue
				}
				text := changesOnly(t, c)
				if id, ok := seen[text]; ok && id != c.ID() { // two may come to the same
					t.Errorf("%s cannot be told from another variant:\n%s", path, text)
				}
				seen[text] = c.ID()
			}
			if len(seen) < 60 {
				t.Errorf("only %d variants were accepted", len(seen))
			}
		})
	}
}

// changesOnly returns what Changes shows besides the identity.
func changesOnly(t *testing.T, e *Event) string {
	t.Helper()
	c := e.Changes()
	c.Event, c.Signatures = "", nil
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	// The text must show no less.
	var text bytes.Buffer
	c.WriteText(&text)
	return string(data) + text.String()
}

// variants yields the event's file with one thing changed in root or targets.
func variants(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	result := make(map[string][]byte)
	decode := func() map[string]any {
		var file map[string]any
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if err := d.Decode(&file); err != nil {
			t.Fatal(err)
		}
		return file
	}
	keep := func(path string, file map[string]any) {
		// In the order of fields that the program writes.
		ordered := struct {
			Schema  any            `json:"schema"`
			Base    any            `json:"base,omitempty"`
			Root    map[string]any `json:"root,omitempty"`
			Targets map[string]any `json:"targets,omitempty"`
		}{Schema: file["schema"], Base: file["base"]}
		ordered.Root, _ = file["root"].(map[string]any)
		ordered.Targets, _ = file["targets"].(map[string]any)
		out, err := (&eventFileAny{ordered}).encode()
		if err != nil {
			t.Fatal(err)
		}
		result[path] = out
	}
	for _, part := range []string{"root", "targets"} {
		signed := func(file map[string]any) map[string]any {
			return file[part].(map[string]any)["signed"].(map[string]any)
		}
		for _, path := range paths(signed(decode()), nil) {
			for name, alter := range alterations() {
				file := decode()
				if alter(parentOf(signed(file), path), path[len(path)-1]) {
					keep(part+"/"+strings.Join(path, "/")+" "+name, file)
				}
			}
		}
	}
	return result
}

// eventFileAny encodes as eventFile does.
type eventFileAny struct{ content any }

func (f *eventFileAny) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", " ")
	err := enc.Encode(f.content)
	return b.Bytes(), err
}

// alterations are ways to change the field or element that is called last.
func alterations() map[string]func(parent any, last string) bool {
	change := func(v any) any {
		switch v := v.(type) {
		case string:
			if t, err := time.Parse(time.RFC3339, v); err == nil {
				return t.Add(time.Hour).Format(time.RFC3339)
			}
			if n := len(v); n > 1 { // also digits of ids and keys
				return v[:n-1] + string("abc"[strings.Count(v, "a")%3])
			}
			return v + "x"
		case json.Number:
			n, _ := v.Int64()
			return json.Number(strconv.FormatInt(n+1, 10))
		case bool:
			return !v
		case []any:
			return append(slices.Clone(v), "added")
		}
		return "other"
	}
	return map[string]func(parent any, last string) bool{
		"changed": func(parent any, last string) bool {
			switch p := parent.(type) {
			case map[string]any:
				p[last] = change(p[last])
			case []any:
				i, _ := strconv.Atoi(last)
				p[i] = change(p[i])
			}
			return true
		},
		"removed": func(parent any, last string) bool {
			p, ok := parent.(map[string]any)
			delete(p, last)
			return ok
		},
		"beside": func(parent any, last string) bool {
			p, ok := parent.(map[string]any)
			if ok {
				p[last+"2"] = p[last]
			}
			return ok
		},
		"unknown field beside": func(parent any, _ string) bool {
			p, ok := parent.(map[string]any)
			if ok {
				p["x-unknown"] = map[string]any{"y": true}
			}
			return ok
		},
		"null": func(parent any, last string) bool {
			p, ok := parent.(map[string]any)
			if ok {
				p[last] = nil
			}
			return ok
		},
	}
}

// paths returns the paths of all fields and elements below v.
func paths(v any, at []string) [][]string {
	var list [][]string
	add := func(name string, child any) {
		path := append(slices.Clone(at), name)
		list = append(append(list, path), paths(child, path)...)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			add(name, v[name])
		}
	case []any:
		for i, child := range v {
			add(strconv.Itoa(i), child)
		}
	}
	return list
}

func parentOf(v any, path []string) any {
	for _, name := range path[:len(path)-1] {
		switch p := v.(type) {
		case map[string]any:
			v = p[name]
		case []any:
			i, _ := strconv.Atoi(name)
			v = p[i]
		}
	}
	return v
}
