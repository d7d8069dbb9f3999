package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
)

// mounted wraps what a peer does to files in the slot.
func mounted(text string) string {
	return "mount $SLOT $MNT\n" + text + "\nsync -f $MNT; umount $MNT\n"
}

// publishFiles puts kernel and initramfs there as they are, with their hashes.
func publishFiles(_ context.Context, _ *arena, p payload, to string) error {
	sums, err := os.Create(filepath.Join(to, "sums"))
	if err != nil {
		return err
	}
	defer sums.Close()
	for name, file := range map[string]string{"vmlinuz": p.kernel, "initramfs": p.initramfs} {
		if err := os.Link(file, filepath.Join(to, name)); err != nil {
			return err
		}
		digest, err := digestOf(file)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(sums, digest+"  "+name+"\n"); err != nil {
			return err
		}
	}
	return sums.Close()
}

func digestOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// The yardsticks are parts of the job.
var (
	curlNull = peer{
		name: "curl-null", about: "curl to /dev/null: the network alone", version: "dpkg curl", yardstick: true,
		publish: publishFiles,
		update:  "curl -sf -o /dev/null $URL/vmlinuz -o /dev/null $URL/initramfs",
	}
	opensslHash = peer{
		name: "openssl", about: "openssl sha256 of files in memory: hashing alone, once", version: "dpkg openssl", yardstick: true,
		before: "cat $KERNEL $INITRAMFS > /dev/null",
		update: "openssl sha256 $KERNEL $INITRAMFS > /dev/null",
	}
	bare = peer{
		name: "bare", about: "a program that does nothing else: HTTP, SHA-256, O_DIRECT, everything read back with O_DIRECT",
		publish: publishFiles,
		before:  "set -- $(cat $PUBLISHED/$TO/sums)",
		update:  mounted("$TOOLS/bare $URL/$2 $1 $MNT/$2 $URL/$4 $3 $MNT/$4"),
	}
)

// The peers of a full update.
var (
	agentPeer = peer{
		name: "agent", about: "agent apply: TUF, two SHA-256, everything read back past the page cache",
		before: agentBefore,
		update: `$BIN/agent apply --server $TUFBOOT --root $ROOT --state-dir $DATA/state --disk $LOOP --booted-slot A --grubenv $GRUBENV --release $TO --log-level error`,
	}
	curlPeer = peer{
		name: "curl", about: "a careful shell script: curl, sync, umount, mount, sha256sum -c", version: "dpkg curl",
		publish: publishFiles,
		update: "mount $SLOT $MNT\ncurl -sf -o $MNT/vmlinuz $URL/vmlinuz -o $MNT/initramfs $URL/initramfs -o $DATA/sums $URL/sums\n" +
			"sync -f $MNT; umount $MNT; mount $SLOT $MNT; cd $MNT; sha256sum --quiet -c $DATA/sums; cd /; umount $MNT\n",
	}
	ostreePeer = peer{
		name: "ostree", about: "ostree pull (GPG signature, SHA-256 of each object) and checkout with hard links, in the slot", version: "dpkg ostree",
		publish: publishTree,
		update: mounted(`ostree --repo=$MNT/ostree init --mode=bare
			ostree --repo=$MNT/ostree remote add --gpg-import=$WORK/gpg/public.gpg bench $URL/repo > /dev/null
			ostree --repo=$MNT/ostree pull bench node > /dev/null
			ostree --repo=$MNT/ostree checkout -H node $MNT/system`),
	}
)

// agentBefore lets the trusted root be a node's own: what it has kept of the
// repository's metadata is nothing.
const agentBefore = "mkdir -p $DATA/state\n"

func publishTree(ctx context.Context, a *arena, p payload, to string) error {
	tree := filepath.Join(to, "tree")
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return err
	}
	if err := publishFiles(ctx, a, p, tree); err != nil {
		return err
	}
	repo := "--repo=" + filepath.Join(to, "repo")
	for _, args := range [][]string{
		{repo, "init", "--mode=archive"},
		{repo, "commit", "-b", "node", "--tree=dir=" + tree, "--gpg-sign=" + keyName, "--gpg-homedir=" + a.at("gpg")},
		{repo, "summary", "-u"},
	} {
		if err := command(ctx, "", "ostree", args...); err != nil {
			return err
		}
	}
	return os.RemoveAll(tree)
}
