package update_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tufboot/agent/update"
	"tufboot/grub"
	"tufboot/image"
	"tufboot/internal/faultdisk"
	"tufboot/metadata"
	"tufboot/metadata/client"
	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

const arch = "amd64"

// rig is a node on a real disk (a loop device with our four partitions) that
// follows a real repository on a real HTTP server. Only the boot is played by
// the test: reboot does what GRUB would do, by the model that package grub
// proves against GRUB itself.
type rig struct {
	t        *testing.T
	dir      string
	loop     string
	repo     *repository.Repository
	keys     repository.Signers
	root     []byte
	server   *httptest.Server
	grubenv  string
	state    string
	booted   grub.Booted
	kernelID string
	now      time.Time // the machine's clock
	floor    time.Time // the agent's build time
	policy   update.Policy
	fault    *faultdisk.Disk // what the disk's writes pass through; nil: nothing
	mu       sync.Mutex
	requests []string
	// serve, if not nil, answers in place of the file server.
	serve func(w http.ResponseWriter, r *http.Request, files http.Handler)
	// transport, if not nil, is how the node reaches repo.example, where its
	// repository then is.
	transport http.RoundTripper
}

// newRig builds the disk with release v1 in both slots, boots slot A, and
// publishes v1.
func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigOn(t, false)
}

// newFaultyRig is one whose disk does what r.fault is told.
func newFaultyRig(t *testing.T) *rig {
	t.Helper()
	return newRigOn(t, true)
}

func newRigOn(t *testing.T, faulty bool) *rig {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test attaches a loop device and mounts file systems: run it as root (`make unit` uses sudo)")
	}
	r := &rig{t: t, dir: t.TempDir(), kernelID: "boot-1", now: time.Now()}
	r.state = filepath.Join(r.dir, "state")
	r.grubenv = filepath.Join(r.dir, "grub", "grubenv")
	r.makeRepository()
	first := r.publish("1")
	r.makeDisk(first, faulty)
	must(t, os.MkdirAll(filepath.Dir(r.grubenv), 0o755))
	must(t, os.WriteFile(r.grubenv, grub.InitialBlock(grub.SlotA), 0o644))
	must(t, os.WriteFile(filepath.Join(filepath.Dir(r.grubenv), "last-good"), grub.LastGoodBlock(grub.SlotA), 0o644))
	r.booted = grub.Booted{Slot: grub.SlotA}
	return r
}

func (r *rig) makeRepository() {
	r.t.Helper()
	keys := filepath.Join(r.dir, "keys")
	roles, err := repository.MakeKeys(keys, repository.KeyPlan{Type: repository.Ed25519, RootKeys: 2, RootThreshold: 2}, nil)
	must(r.t, err)
	signers, err := repository.OpenKeys([]string{keys}, func(string) ([]byte, error) { return nil, nil })
	must(r.t, err)
	r.keys = signers
	dir := filepath.Join(r.dir, "repo")
	r.repo, err = repository.Create(r.t.Context(), storage.NewFolder(dir), repository.CreateOptions{Roles: roles, Keys: signers})
	must(r.t, err)
	r.root, err = os.ReadFile(filepath.Join(dir, "metadata", "1.root.json"))
	must(r.t, err)
	files := http.FileServer(http.Dir(dir))
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.requests = append(r.requests, strings.TrimSpace(req.URL.Path+" "+req.Header.Get("Range")))
		serve := r.serve
		r.mu.Unlock()
		if serve != nil {
			serve(w, req, files)
			return
		}
		files.ServeHTTP(w, req)
	}))
	r.t.Cleanup(r.server.Close)
}

// payload is what the test's releases are made of: not compressible, and the
// same for the same version.
func payload(version, file string, size int) []byte {
	sum := sha256.Sum256([]byte(version + file))
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(sum).Read(b)
	return b
}

const (
	kernelSize    = 256 << 10
	initramfsSize = 3<<20 + 12345 // not a multiple of any block
)

// publish publishes a release and points the channel stable to it.
func (r *rig) publish(version string) *metadata.Release {
	r.t.Helper()
	files := map[string]string{}
	for name, size := range map[string]int{metadata.KernelFile: kernelSize, metadata.InitramfsFile: initramfsSize} {
		files[name] = filepath.Join(r.dir, version+"."+name)
		must(r.t, os.WriteFile(files[name], payload(version, name, size), 0o644))
	}
	return r.publishFiles(version, files[metadata.KernelFile], files[metadata.InitramfsFile])
}

func (r *rig) publishFiles(version, kernel, initramfs string) *metadata.Release {
	r.t.Helper()
	p, err := r.repo.Publish(r.t.Context(), repository.PublishOptions{
		Version: version, Arch: arch, Channel: "stable", Kernel: kernel, Initramfs: initramfs,
		Cmdline: "quiet release=" + version, Keys: r.keys,
	})
	must(r.t, err)
	return p.Release
}

// makeDisk makes a GPT disk with both slots holding a release, and attaches it.
func (r *rig) makeDisk(rel *metadata.Release, faulty bool) {
	r.t.Helper()
	slot := filepath.Join(r.dir, "slot")
	must(r.t, os.MkdirAll(slot, 0o755))
	manifest, err := rel.Encode()
	must(r.t, err)
	cmdline, err := grub.CmdlineConfig(rel.Cmdline)
	must(r.t, err)
	for name, data := range map[string][]byte{
		metadata.KernelFile:    payload(rel.Version, metadata.KernelFile, kernelSize),
		metadata.InitramfsFile: payload(rel.Version, metadata.InitramfsFile, initramfsSize),
		grub.CmdlineFile:       cmdline,
		metadata.ManifestFile:  manifest,
	} {
		must(r.t, os.WriteFile(filepath.Join(slot, name), data, 0o644))
	}
	disk := filepath.Join(r.dir, "disk.img")
	r.run("truncate", "-s", "64M", disk)
	sfdisk := exec.Command("sfdisk", "-q", disk)
	sfdisk.Stdin = strings.NewReader("label: gpt\nsize=8M, name=EFI, type=U\nsize=16M, name=SYSTEM-A\nsize=16M, name=SYSTEM-B\nsize=16M, name=DATA\n")
	if out, err := sfdisk.CombinedOutput(); err != nil {
		r.t.Fatalf("sfdisk: %v: %s", err, out)
	}
	for i, p := range []struct {
		size int
		make []string
	}{
		{8, []string{"mkfs.vfat", "-n", "EFI"}},
		{16, []string{"mke2fs", "-q", "-F", "-t", "ext4", "-L", "SYSTEM-A", "-d", slot}},
		{16, []string{"mke2fs", "-q", "-F", "-t", "ext4", "-L", "SYSTEM-B", "-d", slot}},
		{16, []string{"mke2fs", "-q", "-F", "-t", "ext4", "-L", "DATA"}},
	} {
		part := filepath.Join(r.dir, fmt.Sprintf("part%d", i))
		r.run("truncate", "-s", fmt.Sprintf("%dM", p.size), part)
		r.run(p.make[0], append(p.make[1:], part)...)
		offset := 1 // MiB
		for j := range i {
			offset += []int{8, 16, 16}[j]
		}
		r.run("dd", "if="+part, "of="+disk, "bs=1M", fmt.Sprintf("seek=%d", offset), "conv=notrunc", "status=none")
	}
	if faulty {
		disk = r.makeFaulty(disk)
	}
	r.loop = strings.TrimSpace(r.run("losetup", "-f", "--show", disk))
	r.t.Cleanup(func() {
		_ = exec.Command("partx", "-d", r.loop).Run()
		_ = exec.Command("losetup", "-d", r.loop).Run()
	})
	// Whoever looked at all disks while the last user of this one removed its partitions
	// kept them from going.
	_ = exec.Command("partx", "-d", r.loop).Run()
	r.run("partx", "-a", r.loop)
}

// makeFaulty returns the path of a file that has the bytes of disk and passes
// through r.fault.
func (r *rig) makeFaulty(disk string) string {
	r.t.Helper()
	file, err := os.OpenFile(disk, os.O_RDWR, 0)
	must(r.t, err)
	path := filepath.Join(r.dir, "faulty.img")
	must(r.t, os.WriteFile(path, nil, 0o600))
	r.fault, err = faultdisk.Mount(path, file)
	must(r.t, err)
	r.t.Cleanup(func() {
		must(r.t, r.fault.Close())
		must(r.t, file.Close())
	})
	return path
}

func (r *rig) run(name string, args ...string) string {
	r.t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("%s %q: %v: %s", name, args, err, stderr.String())
	}
	return string(out)
}

// node opens the node anew, as every run of the agent does.
func (r *rig) node() *update.Node {
	r.t.Helper()
	n, err := r.open()
	must(r.t, err)
	return n
}

// open is node for a disk that may not be found.
func (r *rig) open() (*update.Node, error) {
	r.t.Helper()
	disk, err := image.Find(image.FindOptions{Disk: r.loop, Labels: image.DefaultLabels()})
	if err != nil {
		return nil, err
	}
	server := r.server.URL
	if r.transport != nil {
		server = "http://repo.example"
	}
	c, err := client.New(client.Options{
		Server: server, Root: r.root, Dir: filepath.Join(r.state, "metadata"),
		Now: func() time.Time { return r.now }, ClockFloor: r.floor, Transport: r.transport,
	})
	must(r.t, err)
	return update.New(update.Options{
		StateDir: r.state, Disk: disk, Grubenv: r.grubenv, Booted: r.booted, KernelID: r.kernelID,
		Client: c, Channel: "stable", Arch: arch, Now: func() time.Time { return r.now },
		Policy: r.policy,
	}), nil
}

// reboot plays GRUB: it makes the next boot's transition in the block, by the
// model that is proven against the real GRUB, and sets what the kernel is told.
func (r *rig) reboot() grub.Slot {
	r.t.Helper()
	r.kernelID = fmt.Sprintf("boot-%d", rand.Uint64())
	env := grub.Env{Path: r.grubenv, LastGood: filepath.Join(filepath.Dir(r.grubenv), "last-good")}
	var booted grub.Booted
	_, err := env.Update(func(s grub.State) (grub.State, error) {
		next, o := s.Boot(grub.Facts{LastGood: grub.SlotA})
		booted = grub.Booted{Slot: o.Slot, BootID: o.BootID, Try: o.Try}
		return next, nil
	})
	must(r.t, err)
	r.booted = booted
	return booted.Slot
}

func (r *rig) block() grub.State {
	r.t.Helper()
	s, err := grub.Env{Path: r.grubenv}.Read()
	must(r.t, err)
	return s
}

// slotHash returns the digest of a whole slot partition.
func (r *rig) slotHash(slot grub.Slot) string {
	r.t.Helper()
	number := map[grub.Slot]int{grub.SlotA: 2, grub.SlotB: 3}[slot]
	data, err := os.ReadFile(fmt.Sprintf("%sp%d", r.loop, number))
	must(r.t, err)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// wantSlot fails unless the slot holds exactly the given release.
func (r *rig) wantSlot(slot grub.Slot, version string) {
	r.t.Helper()
	disk, err := image.Find(image.FindOptions{Disk: r.loop, Labels: image.DefaultLabels()})
	must(r.t, err)
	for name, size := range map[string]int{metadata.KernelFile: kernelSize, metadata.InitramfsFile: initramfsSize} {
		data, err := image.ReadSlotFile(disk.Slot(slot), name, 64<<20)
		must(r.t, err)
		if !bytes.Equal(data, payload(version, name, size)) {
			r.t.Errorf("slot %s: %s is not that of release %s", slot, name, version)
		}
	}
}

func (r *rig) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.requests
	r.requests = nil
	return list
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// corrupt changes a bit of release version's initramfs on the device.
func (r *rig) corrupt(slot grub.Slot, version string) {
	r.t.Helper()
	r.corruptBytes(slot, payload(version, metadata.InitramfsFile, initramfsSize)[1<<20:1<<20+4096])
}

// corruptBytes overwrites the first of these bytes on the device, wherever they
// are.
func (r *rig) corruptBytes(slot grub.Slot, content []byte) {
	r.t.Helper()
	disk, err := image.Find(image.FindOptions{Disk: r.loop, Labels: image.DefaultLabels()})
	must(r.t, err)
	device := disk.Slot(slot).Device
	data, err := os.ReadFile(device)
	must(r.t, err)
	at := bytes.Index(data, content)
	if at < 0 {
		r.t.Fatalf("slot %s does not hold these bytes", slot)
	}
	f, err := os.OpenFile(device, os.O_RDWR|os.O_SYNC, 0)
	must(r.t, err)
	_, err = f.WriteAt([]byte{data[at] ^ 1}, int64(at))
	must(r.t, err)
	must(r.t, f.Close())
}
