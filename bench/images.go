package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"tufboot/grub"
)

// keyName is whom OSTree's signatures are by.
const keyName = "bench@example.org"

// makeKeys makes what the peers sign with and verify against.
func makeKeys(ctx context.Context, dir string) error {
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.MkdirAll(at("gpg"), 0o700); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", at("key.pem"), "-out", at("cert.pem"), "-days", "30", "-subj", "/CN=bench"},
		{"openssl", "rsa", "-in", at("key.pem"), "-traditional", "-out", at("key-pkcs1.pem")},
		{"openssl", "rsa", "-in", at("key.pem"), "-pubout", "-out", at("public.pem")},
		{"gpg", "--homedir", at("gpg"), "--batch", "--passphrase", "", "--quick-gen-key", keyName, "rsa2048", "sign", "never"},
		{"gpg", "--homedir", at("gpg"), "--export", "-o", at("gpg/public.gpg")},
	} {
		if err := command(ctx, dir, args[0], args[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// fileSystem makes the smallest ext4 image that holds the payload: what an
// image-based updater writes over the slot.
func fileSystem(ctx context.Context, p payload, image string) error {
	tree := image + ".tree"
	err := errors.Join(os.MkdirAll(tree, 0o755),
		os.Link(p.kernel, filepath.Join(tree, "vmlinuz")), os.Link(p.initramfs, filepath.Join(tree, "initramfs")))
	if err != nil {
		return err
	}
	defer os.RemoveAll(tree)
	mib := strconv.FormatInt(p.size>>20+5, 10) + "M"
	return command(ctx, "", "mke2fs", "-q", "-t", "ext4", "-N", "64", "-m", "0", "-O", "^has_journal,^resize_inode", "-d", tree, image, mib)
}

// RAUC: a signed bundle with an image. Debian's takes a URL, downloads the
// bundle to TMPDIR, verifies it there and writes the image.
var raucPeer = peer{
	name: "rauc", about: "rauc install URL: bundle downloaded to DATA, its signature checked, image written", version: "dpkg rauc",
	publish: publishRAUC,
	before: `export DBUS_STARTER_BUS_TYPE=session DBUS_SESSION_BUS_ADDRESS=unix:path=$WORK/bus
rm -f $WORK/bus; dbus-daemon --session --nofork --nopidfile --address=$DBUS_SESSION_BUS_ADDRESS & bus=$!
trap 'kill $bus $service; wait' EXIT; service=
until [ -S $WORK/bus ]; do sleep 0.1; done
rauc -c $WORK/rauc.conf service --override-boot-slot=A > $WORK/rauc.log 2>&1 & service=$!
until dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner string:de.pengutronix.rauc | grep -q true; do sleep 0.1; done
`,
	update: "rauc install $URL/bundle.raucb > $WORK/rauc.out; sync $SLOT\n",
}

func publishRAUC(ctx context.Context, a *arena, p payload, to string) error {
	bundle := filepath.Join(to, "bundle")
	if err := os.MkdirAll(bundle, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(bundle)
	const backend = "#!/bin/sh\ncase \"$1\" in get-primary|get-current) echo A ;; get-state) echo good ;; esac\n"
	conf := fmt.Sprintf("[system]\ncompatible=bench\nbootloader=custom\nbundle-formats=plain\nmountprefix=%[1]s/rauc\nstatusfile=%[1]s/rauc.status\nmax-bundle-download-size=2000000000\n"+
		"[handlers]\nbootloader-custom-backend=%[1]s/rauc-backend\n[keyring]\npath=%[1]s/cert.pem\n"+
		"[slot.rootfs.0]\ndevice=%[2]s\ntype=ext4\nbootname=A\n[slot.rootfs.1]\ndevice=%[3]s\ntype=ext4\nbootname=B\n",
		a.dir, a.node.slot(grub.SlotA), a.node.slot(grub.SlotB))
	const manifest = "[update]\ncompatible=bench\nversion=1\n[bundle]\nformat=plain\n[image.rootfs]\nfilename=image.ext4\n"
	err := errors.Join(
		fileSystem(ctx, p, filepath.Join(bundle, "image.ext4")),
		os.WriteFile(filepath.Join(bundle, "manifest.raucm"), []byte(manifest), 0o644),
		os.WriteFile(a.at("rauc.conf"), []byte(conf), 0o644),
		os.WriteFile(a.at("rauc-backend"), []byte(backend), 0o755))
	if err != nil {
		return err
	}
	return command(ctx, "", "rauc", "bundle", "--cert", a.at("cert.pem"), "--key", a.at("key.pem"), bundle, filepath.Join(to, "bundle.raucb"))
}

// SWUpdate: a cpio with a signed description first, so that the image that
// follows can go to the slot as it comes.
var swupdatePeer = peer{
	name: "swupdate", about: "swupdate -d, installed-directly: image written as it comes, SHA-256 from the signed description", version: "dpkg swupdate",
	publish: publishSWUpdate,
	update:  "swupdate -k $WORK/cert.pem -H bench:1.0 -d \"-u $URL/image.swu\" > $WORK/swupdate.log 2>&1; sync $SLOT\n",
}

func publishSWUpdate(ctx context.Context, a *arena, p payload, to string) error {
	image := filepath.Join(to, "image.ext4")
	if err := fileSystem(ctx, p, image); err != nil {
		return err
	}
	defer os.Remove(image)
	digest, err := digestOf(image)
	if err != nil {
		return err
	}
	description := fmt.Sprintf(`software = { version = "1.0"; bench = { hardware-compatibility: [ "1.0" ];
	images: ( { filename = "image.ext4"; type = "raw"; device = "%s"; installed-directly = true; sha256 = "%s"; } ); }; }
`, a.node.slot(grub.SlotB), digest)
	if err := os.WriteFile(filepath.Join(to, "sw-description"), []byte(description), 0o644); err != nil {
		return err
	}
	return command(ctx, to, "sh", "-euc", `openssl cms -sign -in sw-description -out sw-description.sig -signer "$0/cert.pem" -inkey "$0/key.pem" -outform DER -nosmimecap -binary
		printf 'sw-description\nsw-description.sig\nimage.ext4\n' | cpio -o -H crc > image.swu`, a.dir)
}

// Mender writes the partition that is not its root's, and asks U-Boot's tools
// which that is. So it runs in a folder on DATA that is its root, with tools
// that know nothing else.
var menderPeer = peer{
	name: "mender", about: "mender install URL: signed artifact, image written as it comes where the slot differs", version: "dpkg mender-client",
	publish: publishMender,
	before: `root=$DATA/root; mkdir -p $root/etc/mender $root/var/lib/mender $root/tmp $root/tools
for d in usr bin sbin lib lib64 dev proc sys; do mkdir -p $root/$d; done
cp $WORK/public.pem $root/etc/mender/
echo "{\"ServerURL\":\"$URL\",\"RootfsPartA\":\"$DATADEV\",\"RootfsPartB\":\"$SLOT\",\"ArtifactVerifyKey\":\"/etc/mender/public.pem\"}" > $root/etc/mender/mender.conf
echo device_type=bench > $root/var/lib/mender/device_type; echo artifact_name=none > $root/etc/mender/artifact_info
printf '#!/bin/sh\nprintf "mender_boot_part=4\\nmender_boot_part_hex=4\\nupgrade_available=0\\n"\n' > $root/tools/fw_printenv
printf '#!/bin/sh\ncat > /dev/null\n' > $root/tools/fw_setenv; chmod +x $root/tools/*
for d in usr bin sbin lib lib64 dev proc sys; do mount --bind /$d $root/$d; done
sync -f $DATA
`,
	update: "PATH=/tools:$PATH TMPDIR=/tmp chroot $root mender --no-syslog install $URL/image.mender > $WORK/mender.log 2>&1; sync $SLOT\n",
	after:  "for d in usr bin sbin lib lib64 dev proc sys; do umount $root/$d; done\n",
}

func publishMender(ctx context.Context, a *arena, p payload, to string) error {
	image := filepath.Join(to, "image.ext4")
	if err := fileSystem(ctx, p, image); err != nil {
		return err
	}
	defer os.Remove(image)
	return command(ctx, "", "mender-artifact", "write", "rootfs-image", "-f", image, "-t", "bench", "-n", "v"+p.id,
		"-o", filepath.Join(to, "image.mender"), "-k", a.at("key-pkcs1.pem"), "--compression", "none", "--no-progress")
}
