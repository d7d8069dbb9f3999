// Command conformance is package client behind the command line that the public
// TUF conformance suite wants (theupdateframework/tuf-conformance,
// CLIENT-CLI.md). It is a test program: scripts/conformance builds and runs it,
// and nothing ships it.
//
// The suite looks for what a client trusts in files with plain names, root.json
// and so on, in the folder that it gives. Package client keeps its files its own
// way, so it gets a folder inside, and what it trusts is copied out after each
// command, also after one that failed.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tufboot/metadata"
	"tufboot/metadata/client"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1) // the suite knows no other failure
	}
}

// options are what the suite says on the command line.
type options struct {
	metadataDir, metadataURL string
	targetDir, targetURL     string
	targets                  []string
}

func run(ctx context.Context, args []string) error {
	var o options
	f := flag.NewFlagSet("conformance", flag.ContinueOnError)
	f.StringVar(&o.metadataDir, "metadata-dir", "", "`FOLDER` for trusted metadata")
	f.StringVar(&o.metadataURL, "metadata-url", "", "`URL` of the repository's metadata")
	f.StringVar(&o.targetDir, "target-dir", "", "`FOLDER` for targets")
	f.StringVar(&o.targetURL, "target-base-url", "", "`URL` of the repository's targets")
	f.Func("target-name", "`NAME` of a target; may be repeated", func(name string) error {
		o.targets = append(o.targets, name)
		return nil
	})
	if err := f.Parse(args); err != nil {
		return err
	}
	switch f.Arg(0) {
	case "init":
		return o.init(f.Arg(1))
	case "refresh":
		return o.update(ctx, nil)
	case "download":
		return o.update(ctx, o.targets)
	}
	return fmt.Errorf("command %q: use init, refresh or download", f.Arg(0))
}

// The names inside of the metadata folder must not end in .json: the suite takes
// every such file for trusted metadata.
func (o *options) builtIn() string { return filepath.Join(o.metadataDir, "built-in-root") }
func (o *options) kept() string    { return filepath.Join(o.metadataDir, "kept") }

// init keeps the root that is trusted from now on.
func (o *options) init(root string) error {
	data, err := os.ReadFile(root)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(o.builtIn(), data, 0o600),
		os.WriteFile(filepath.Join(o.metadataDir, "root.json"), data, 0o600),
	)
}

// update refreshes, and then downloads targets in their order.
func (o *options) update(ctx context.Context, targets []string) error {
	c, opts, err := o.open(ctx)
	if err != nil {
		return err
	}
	err = c.Refresh(ctx)
	for _, name := range targets {
		if err == nil {
			err = o.download(ctx, c, name)
		}
	}
	return errors.Join(err, o.export(opts))
}

func (o *options) open(ctx context.Context) (*client.Client, client.Options, error) {
	now, err := wallClock(ctx)
	if err != nil {
		return nil, client.Options{}, err
	}
	root, err := os.ReadFile(o.builtIn())
	if err != nil {
		return nil, client.Options{}, err
	}
	server, err := o.server()
	if err != nil {
		return nil, client.Options{}, err
	}
	opts := client.Options{
		Server: server, Root: root, Dir: o.kept(),
		Now:    func() time.Time { return now },
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	c, err := client.New(opts)
	return c, opts, err
}

// server returns the folder that holds both metadata/ and targets/: package
// client knows no other layout.
func (o *options) server() (string, error) {
	base, isMetadata := strings.CutSuffix(strings.TrimSuffix(o.metadataURL, "/"), "/"+metadata.MetadataDir)
	if !isMetadata || o.targetURL != "" && strings.TrimSuffix(o.targetURL, "/") != base+"/"+metadata.TargetsDir {
		return "", fmt.Errorf("metadata at %q and targets at %q: want them in folders %s and %s of one folder",
			o.metadataURL, o.targetURL, metadata.MetadataDir, metadata.TargetsDir)
	}
	return base, nil
}

// wallClock is the time as the suite wants it to be. It sets it with faketime,
// which replaces functions of the C library; Go asks the kernel.
func wallClock(ctx context.Context) (time.Time, error) {
	out, err := exec.CommandContext(ctx, "date", "+%s").Output()
	if err != nil {
		return time.Time{}, fmt.Errorf("date: %w", err)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return time.Unix(seconds, 0), err
}

// download brings a target into the folder for targets, unless it is there.
func (o *options) download(ctx context.Context, c *client.Client, name string) error {
	a, err := c.Target(ctx, name)
	if err != nil {
		return err
	}
	path := filepath.Join(o.targetDir, url.PathEscape(name))
	if data, err := os.ReadFile(path); err == nil && digest(data) == a.SHA256 {
		return nil
	}
	var data bytes.Buffer
	if err := c.Download(ctx, a, nil, &data, nil); err != nil {
		return err
	}
	return os.WriteFile(path, data.Bytes(), 0o600)
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// export copies what the client trusts now to the names that the suite looks for.
func (o *options) export(opts client.Options) error {
	trust, err := client.LocalTrust(opts)
	if err != nil {
		return err
	}
	files := map[string]string{"root.json": fmt.Sprintf("%d.root.json", trust.Root.Version)}
	for role, held := range map[string]client.Held{
		"timestamp.json": trust.Timestamp, "snapshot.json": trust.Snapshot, "targets.json": trust.Targets,
	} {
		files[role] = ""
		if held.Version > 0 {
			files[role] = role
		}
	}
	delegated, err := filepath.Glob(filepath.Join(o.kept(), "role-*.json"))
	if err != nil {
		return err
	}
	for _, path := range delegated {
		name := filepath.Base(path)
		files[strings.TrimPrefix(name, "role-")] = name
	}
	for to, from := range files {
		err = errors.Join(err, copyOut(filepath.Join(o.metadataDir, to), o.kept(), from))
	}
	return err
}

// copyOut makes the file to a copy of from in dir, or removes it if from is "".
func copyOut(to, dir, from string) error {
	if from == "" {
		if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	in, err := os.Open(filepath.Join(dir, from))
	if err != nil {
		return err
	}
	defer in.Close()
	data, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}
