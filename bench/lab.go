package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tufboot/grub"
	"tufboot/metadata/client"
)

const mb = 1_000_000

// lab is a repository behind HTTP and a disk on a loop device.
type lab struct {
	bin, dir, loop, url string
	server              *http.Server
	version             int
	payload             int64 // bytes of the newest release
}

func newLab(ctx context.Context, bin, dir string) (*lab, error) {
	l := &lab{bin: bin, dir: dir}
	if _, err := l.tool(ctx, "repo-tool", "init", "--repo", l.at("repo"), "--keys", l.at("keys"), "--unsafe-plaintext-keys"); err != nil {
		return nil, err
	}
	if err := l.publish(ctx, 1); err != nil {
		return nil, err
	}
	_, err := l.tool(ctx, "repo-tool", "image", "--root", l.at("repo/metadata/1.root.json"), "--version", "1",
		"--kernel", l.at("kernel"), "--initramfs", l.at("initramfs"), "--slot-size", "700M", "-o", l.at("disk.img"))
	if err != nil {
		return nil, err
	}
	out, err := l.tool(ctx, "losetup", "-f", "--show", l.at("disk.img"))
	if err != nil {
		return nil, err
	}
	l.loop = strings.TrimSpace(out)
	if _, err := l.tool(ctx, "partx", "-a", l.loop); err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l.url = "http://" + listener.Addr().String()
	l.server = &http.Server{Handler: http.FileServer(http.Dir(l.at("repo"))), ReadHeaderTimeout: time.Minute}
	go func() { _ = l.server.Serve(listener) }()
	return l, nil
}

func (l *lab) at(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) close() {
	_ = l.server.Close()
	_ = exec.Command("partx", "-d", l.loop).Run()
	_ = exec.Command("losetup", "-d", l.loop).Run()
}

// publish publishes a release with an initramfs of so many MB, which nothing
// can compress.
func (l *lab) publish(ctx context.Context, size int64) error {
	const kernel = 10 * mb
	l.payload = kernel + size*mb
	for name, n := range map[string]int64{"kernel": kernel, "initramfs": size * mb} {
		if err := random(l.at(name), n, uint64(l.version+1)); err != nil {
			return err
		}
	}
	return l.release(ctx)
}

// release publishes the files as they are.
func (l *lab) release(ctx context.Context) error {
	l.version++
	_, err := l.tool(ctx, "repo-tool", "publish", "--repo", l.at("repo"), "--keys", l.at("keys"),
		"--version", strconv.Itoa(l.version), "--kernel", l.at("kernel"), "--initramfs", l.at("initramfs"))
	return err
}

func random(path string, size int64, seed uint64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{byte(seed), byte(size)}), size)
	return err
}

// apply lets the agent write the newest release into slot B, whose own files are
// gone.
func (l *lab) apply(ctx context.Context) (cost, error) { return l.applyTo(ctx, grub.SlotB) }

func (l *lab) applyTo(ctx context.Context, slot grub.Slot) (cost, error) {
	if err := os.RemoveAll(l.at("state")); err != nil {
		return cost{}, err
	}
	if err := os.MkdirAll(l.at("grub"), 0o755); err != nil {
		return cost{}, err
	}
	if err := os.WriteFile(l.at("grub/grubenv"), grub.InitialBlock(slot.Other()), 0o644); err != nil {
		return cost{}, err
	}
	// What an earlier round left must not be gone on with.
	if err := l.clear(ctx, slot); err != nil {
		return cost{}, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(l.bin, "agent"), "apply", "--server", l.url, "--json",
		"--root", l.at("repo/metadata/1.root.json"), "--state-dir", l.at("state"), "--disk", l.loop,
		"--booted-slot", string(slot.Other()), "--grubenv", l.at("grub/grubenv"), "--log-level", "error")
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	c, err := l.measure(cmd)
	if err != nil {
		return cost{}, err
	}
	var said struct {
		Install  bool
		Transfer client.Usage
	}
	if err := json.Unmarshal(stdout.Bytes(), &said); err != nil {
		return cost{}, fmt.Errorf("%s: %w", cmd, err)
	}
	if !said.Install {
		return cost{}, fmt.Errorf("%s did nothing: %s", cmd, stdout.Bytes())
	}
	c.network, c.requests = said.Transfer.Fetched, int64(said.Transfer.Requests)
	return c, nil
}

// clear makes a slot empty.
func (l *lab) clear(ctx context.Context, slot grub.Slot) error {
	_, err := l.tool(ctx, "mke2fs", "-q", "-F", "-t", "ext4", "-O", "^metadata_csum_seed,^orphan_file", "-L", "SYSTEM-"+string(slot), l.part(slot))
	return err
}

// curl does what a careful shell script would: fetch both files into the slot,
// sync, unmount, mount, and compare their hashes.
func (l *lab) curl(ctx context.Context, _ int64) (cost, error) {
	files, err := filepath.Glob(l.at(fmt.Sprintf("repo/targets/releases/%d/*/*", l.version)))
	if err != nil {
		return cost{}, err
	}
	script := "set -e; mount $SLOT $POINT; rm -f $POINT/vmlinuz $POINT/initramfs\n"
	for _, f := range files {
		name := filepath.Base(f)
		digest, plain, _ := strings.Cut(name, ".")
		rel, err := filepath.Rel(l.at("repo"), f)
		if err != nil {
			return cost{}, err
		}
		if plain != "release.json" {
			script += fmt.Sprintf("curl -sf -o $POINT/%s %s/%s; echo '%s  '$POINT/%s >> $SUMS\n", plain, l.url, rel, digest, plain)
		}
	}
	script += "sync -f $POINT; umount $POINT; mount $SLOT $POINT; sha256sum --quiet -c $SUMS; umount $POINT; rm $SUMS\n"
	if err := os.MkdirAll(l.at("mnt"), 0o755); err != nil {
		return cost{}, err
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Env = append(os.Environ(), "SLOT="+l.slot(), "POINT="+l.at("mnt"), "SUMS="+l.at("sums"))
	return l.measure(cmd)
}

// slot is the partition of slot B, which is measured.
func (l *lab) slot() string { return l.part(grub.SlotB) }

func (l *lab) part(s grub.Slot) string {
	if s == grub.SlotA {
		return l.loop + "p2"
	}
	return l.loop + "p3"
}

// measure runs a command from a cold cache of the slot's device.
func (l *lab) measure(cmd *exec.Cmd) (cost, error) {
	syscall.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0); err != nil {
		return cost{}, err
	}
	// The server's side is warm in both: what is measured is the node.
	if err := l.warm(); err != nil {
		return cost{}, err
	}
	report := l.at("time")
	cmd.Args = append([]string{"time", "-q", "-f", "%M", "-o", report, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = gnuTime
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	read, written, err := traffic(l.slot())
	if err != nil {
		return cost{}, err
	}
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return cost{}, fmt.Errorf("%s: %w: %s", cmd.Path, err, stderr.String())
	}
	s := cost{wall: time.Since(start)}
	if s.memory, err = peakMemory(report); err != nil {
		return cost{}, err
	}
	readAfter, writtenAfter, err := traffic(l.slot())
	s.read, s.written = readAfter-read, writtenAfter-written
	return s, err
}

func (l *lab) warm() error {
	files, err := filepath.Glob(l.at(fmt.Sprintf("repo/targets/releases/%d/*/*", l.version)))
	for _, name := range files {
		f, oerr := os.Open(name)
		if oerr != nil {
			return oerr
		}
		_, cerr := io.Copy(io.Discard, f)
		f.Close()
		err = errors.Join(err, cerr)
	}
	return err
}

func (l *lab) tool(ctx context.Context, name string, args ...string) (string, error) {
	path := name
	if own := filepath.Join(l.bin, name); name == "repo-tool" {
		path = own
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}
