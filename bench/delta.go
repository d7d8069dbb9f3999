package main

import (
	"context"
	"path/filepath"
)

// The peers of a delta update. Slot A holds the release before, mounted where a
// peer wants it so; on DATA lies what a peer would have kept from it.
var (
	casyncPeer = peer{
		name: "casync", about: "casync extract, chunks of 64 KiB on average, seed in the running slot", version: "dpkg casync",
		publish: publishChunks("casync make --store=store $f.caibx $f > /dev/null"),
		before:  "mount -o ro $OLDSLOT $OLD\n",
		update:  mounted("for f in vmlinuz initramfs; do casync extract --store=$URL/store --seed=$OLD/$f --seed-output=no $URL/$f.caibx $MNT/$f; done"),
		after:   "umount $OLD\n",
	}
	desyncPeer = peer{
		name: "desync", about: "desync extract, chunks of 64 KiB on average, seed in the running slot with its index kept", version: "go desync",
		publish: publishChunks("$TOOLS/desync make -s store $f.caibx $f"),
		before:  "mount -o ro $OLDSLOT $OLD; cp $PUBLISHED/$FROM/*.caibx $DATA; sync -f $DATA\n",
		update:  mounted("for f in vmlinuz initramfs; do $TOOLS/desync extract -s $URL/store --seed $DATA/$f.caibx:$OLD/$f $URL/$f.caibx $MNT/$f; done"),
		after:   "umount $OLD\n",
	}
	zchunkPeer = peer{
		name: "zchunk", about: "zckdl with the old .zck kept on DATA, then unzck into the slot", version: "dpkg zchunk",
		publish: publishChunks("zck --compression-format=none -o $f.zck $f"),
		before:  "for f in vmlinuz initramfs; do cp $PUBLISHED/$FROM/$f.zck $DATA/old-$f.zck; done; sync -f $DATA\n",
		update:  "cd $DATA; " + mounted("for f in vmlinuz initramfs; do zckdl -qq -s old-$f.zck $URL/$f.zck; unzck -c $f.zck > $MNT/$f; done"),
	}
)

// publishChunks runs a command for each file, in the folder of the server.
func publishChunks(text string) func(context.Context, *arena, payload, string) error {
	return func(ctx context.Context, a *arena, p payload, to string) error {
		if err := publishFiles(ctx, a, p, to); err != nil {
			return err
		}
		_, _, err := timed(ctx, script{
			text: "cd $TO; mkdir store; for f in vmlinuz initramfs; do " + text + "; rm $f; done",
			env:  []string{"TO=" + to, "TOOLS=" + a.tools, "HOME=" + filepath.Join(a.dir, "home")},
		})
		return err
	}
}
