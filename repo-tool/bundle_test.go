package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/metadata/client"
)

// TestOffline is the way of a release to a node without a network: it is
// published to a folder, mirrored from a web server to another site, written
// into a tar there, unpacked, and read by a node.
func TestOffline(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	do := func(args ...string) {
		t.Helper()
		var out bytes.Buffer
		if code := runHere(t.Context(), t, &out, &out, args...); code != 0 {
			t.Fatalf("%s: exit code %d: %s", strings.Join(args, " "), code, out.String())
		}
	}
	for name, content := range map[string]string{"kernel": "kernel", "initrd": "initramfs"} {
		if err := os.WriteFile(at(name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	do("init", "--repo", at("repo"), "--keys", at("keys"), "--unsafe-plaintext-keys")
	root := at("repo/metadata/1.root.json")

	ctx, stop := context.WithCancel(t.Context())
	url, ended := startServe(ctx, t, at("repo"))
	for _, version := range []string{"1", "2"} {
		do("publish", "--repo", at("repo"), "--keys", at("keys"), "--version", version, "--kernel", at("kernel"), "--initramfs", at("initrd"))
		do("mirror", "--from", url, "--to", at("mirror"), "--root", root)
	}
	stop()
	<-ended
	do("bundle", "--repo", at("mirror"), "--root", root, "--channel", "stable", "-o", at("stick.tar"))
	if err := os.Mkdir(at("stick"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "tar", "xf", at("stick.tar"), "-C", at("stick")).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	wantNode(t, at("stick"), root, "2", "kernel", "initramfs")
}

// wantNode lets a node read a folder.
func wantNode(t *testing.T, dir, rootFile, version string, contents ...string) {
	t.Helper()
	root, err := os.ReadFile(rootFile)
	if err != nil {
		t.Fatal(err)
	}
	node, err := client.New(client.Options{Server: "file://" + dir, Root: root, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	found, err := node.Resolve(t.Context(), "stable", "amd64")
	if err != nil || found.Release.Version != version {
		t.Fatalf("release %+v, %v", found, err)
	}
	for i, a := range found.Release.Artifacts() {
		var content bytes.Buffer
		if err := node.Download(t.Context(), a, nil, io.Writer(&content), nil); err != nil {
			t.Fatal(err)
		}
		if content.String() != contents[i] {
			t.Errorf("%s is %q", a.Target, content.String())
		}
	}
}
