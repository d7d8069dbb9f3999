package storage_test

import (
	"strings"
	"testing"

	"tufboot/metadata/storage"
)

func TestCacheControl(t *testing.T) {
	const year, ask, never = "public, max-age=31536000, immutable", "no-cache", "no-store"
	sum := strings.Repeat("0123456789abcdef", 4)
	for name, want := range map[string]string{
		"metadata/1.root.json":                           year,
		"metadata/10.releases-0f.json":                   year,
		"metadata/3.channel-a.b+c.json":                  year,
		"targets/channels/" + sum + ".stable.json":       year,
		"targets/releases/1.0/amd64/" + sum + ".vmlinuz": year,
		"metadata/timestamp.json":                        ask,
		"metadata/root.json":                             ask,
		"metadata/.json":                                 ask,
		"metadata/1.json":                                ask,
		"metadata/1..json":                               ask,
		"metadata/x1.root.json":                          ask,
		"metadata/1.root.json.bak":                       ask,
		"targets/" + sum[1:] + ".vmlinuz":                ask,
		"targets/" + strings.ToUpper(sum) + ".vmlinuz":   ask,
		"targets/" + sum:                                 ask,
		"targets/" + sum + ".":                           ask,
		"index.html":                                     ask,
		storage.WorkDir:                                  never,
		storage.WorkDir + "/history/1.json":              never,
		storage.WorkDir + "/" + sum + ".x":               never,
		storage.WorkDir + "x/1.root.json":                year,
	} {
		if got := storage.CacheControl(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestContentType(t *testing.T) {
	for name, want := range map[string]string{
		"metadata/timestamp.json": "application/json",
		"targets/x.vmlinuz":       "application/octet-stream",
		"index.html":              "application/octet-stream",
	} {
		if got := storage.ContentType(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
