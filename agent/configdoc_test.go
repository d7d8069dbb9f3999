package main

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

// TestConfigurationPage compares docs/configuration.md with what the configuration
// holds: every key with its default, and every flag with its variable.
func TestConfigurationPage(t *testing.T) {
	page, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]string)
	defaults(reflect.ValueOf(defaultSettings()), "", want)
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		key, value := strings.Trim(cells[1], " `"), strings.Trim(cells[2], " `")
		if kept, ok := want[key]; !ok || kept != value {
			t.Errorf("the page has %q with default %q, the configuration %q (%t)", key, value, kept, ok)
		}
		delete(want, key)
	}
	if len(want) > 0 {
		t.Errorf("the page lacks %q", want)
	}
	for _, c := range newApp().Commands {
		for _, f := range c.Flags {
			wantFlag(t, string(page), c.Name, f)
		}
	}
}

// defaults puts the default of each key below v into keys.
func defaults(v reflect.Value, prefix string, keys map[string]string) {
	for field, value := range v.Fields() {
		key := prefix + field.Tag.Get("yaml")
		switch {
		case field.Type == reflect.TypeFor[time.Duration]():
			keys[key] = fmt.Sprint(value)
		case field.Type.Kind() == reflect.Struct:
			defaults(value, key+".", keys)
			continue
		default:
			keys[key] = fmt.Sprint(value)
		}
		if value.IsZero() {
			keys[key] = "none"
		}
	}
}

// wantFlag wants a line with a flag and its variable, where it can be set by one.
func wantFlag(t *testing.T, page, verb string, f cli.Flag) {
	t.Helper()
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok || len(doc.GetEnvVars()) == 0 {
		return
	}
	for line := range strings.Lines(page) {
		if strings.Contains(line, "`--"+f.Names()[0]+"`") && strings.Contains(line, "`"+doc.GetEnvVars()[0]+"`") {
			return
		}
	}
	t.Errorf("the page has no line with --%s and %s, which agent %s knows", f.Names()[0], doc.GetEnvVars()[0], verb)
}
