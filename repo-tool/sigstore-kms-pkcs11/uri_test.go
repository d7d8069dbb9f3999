package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParseURI(t *testing.T) {
	slot := uint(3)
	for s, want := range map[string]keyURI{
		"token=release;object=timestamp":                         {token: "release", object: "timestamp"},
		"object=a%20b%3Bc%3Dd":                                   {object: "a b;c=d"},
		"id=%01%ff;serial=12":                                    {id: []byte{1, 0xff}, serial: "12"},
		"slot-id=3;object=a;type=private;manufacturer=m;model=n": {slotID: &slot, object: "a", manufacturer: "m", model: "n"},
		"object=a?module-path=/usr/lib/a:b.so&pin-source=file:/etc/pin": {
			object: "a", modulePath: "/usr/lib/a:b.so", pinSource: "file:/etc/pin"},
		"object=a+b;": {object: "a+b"}, // a plus is a plus (RFC 7512 knows no forms)
	} {
		if got, err := parseURI(s); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
	for s, want := range map[string]string{
		"":                          "names no key",
		"token=release":             "names no key",
		"release/timestamp":         "without a value",
		"object=":                   "empty",
		"object=%zz":                "percent-encoding",
		"object=a;object=b":         "object twice",
		"object=a;type=cert":        "only private keys",
		"object=a;slot-id=x":        "not a number",
		"object=a;library-version=": "empty",
		"object=a;colour=red":       "not supported: colour",
		"object=a?colour=red":       "not supported: colour",
		"object=a?pin-value=S3CRET": "the URI holds the PIN",
		"object=a;pin-value=S3CRET": "the URI holds the PIN",
	} {
		_, err := parseURI(s)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", s, err, want)
		} else if strings.Contains(err.Error(), "S3CRET") || strings.Contains(err.Error(), "red") {
			t.Errorf("%q shows a value", err)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	f.Add("token=release;object=timestamp?module-path=/a&pin-source=/b")
	f.Add("id=%01%ff;slot-id=1")
	f.Fuzz(func(t *testing.T, s string) {
		if u, err := parseURI(s); err == nil && u.object == "" && len(u.id) == 0 {
			t.Errorf("%q names no key: %+v", s, u)
		}
	})
}

func TestUserPIN(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	first, second, empty := file("first", "one\r\n"), file("second", " two "), file("empty", "\n")
	for _, c := range []struct {
		name, source string
		env          map[string]string
		want, text   string
	}{
		{"file wins", second, map[string]string{pinFileVariable: first, pinVariable: "three"}, "one", ""},
		{"then the variable", second, map[string]string{pinVariable: "three"}, "three", ""},
		{"then the URI", second, nil, " two ", ""},
		{"as a URI", "file:" + second, nil, " two ", ""},
		{"none", "", nil, "", "set " + pinFileVariable},
		{"no file", "", map[string]string{pinFileVariable: filepath.Join(dir, "x")}, "", "no such file"},
		{"empty file", "", map[string]string{pinFileVariable: empty}, "", "is empty"},
		{"command", "|cat " + first, nil, "", "not the absolute path"},
		{"elsewhere", "file://host/pin", nil, "", "not a local file"},
		{"relative", "pin", nil, "", "not the absolute path"},
	} {
		got, err := userPIN(keyURI{pinSource: c.source}, func(name string) string { return c.env[name] })
		if got != c.want || (err == nil) != (c.text == "") || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

func TestModulePath(t *testing.T) {
	none := func(string) string { return "" }
	if _, err := modulePath(keyURI{}, none); err == nil || !strings.Contains(err.Error(), moduleVariable) {
		t.Errorf("got %v", err)
	}
	if got, _ := modulePath(keyURI{modulePath: "/a"}, none); got != "/a" {
		t.Errorf("got %s", got)
	}
	if got, _ := modulePath(keyURI{modulePath: "/a"}, func(string) string { return "/b" }); got != "/b" {
		t.Errorf("got %s", got)
	}
}
