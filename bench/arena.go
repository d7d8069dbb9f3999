package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"tufboot/grub"
)

// arena is what all peers share: the releases, the server and the node.
type arena struct {
	bin, tools string // folders with our programs, and with peers that are not Debian's
	dir        string
	fast, slow *site
	node       *node
	payloads   map[string]payload
	published  map[string]bool
	holds      string // the payload in slot A
	// What the fast server has taken and sent, for serverPerGB.
	serverTime time.Duration
	serverSent int64
}

// payload is what an update brings into the slot.
type payload struct {
	id                string // release and packing, such as 2.1; also tufboot's version
	kernel, initramfs string
	size              int64
}

func payloadID(release, packing int) string { return fmt.Sprintf("%d.%d", release, packing) }

// peer is one way to bring a payload into a slot.
type peer struct {
	name, about string
	version     string // a command that prints it, or a Debian package after "dpkg "
	// publish puts what the server needs into www/NAME/ID.
	publish func(ctx context.Context, a *arena, p payload, to string) error
	// before, update and after are parts of one shell script (sh -eu) with the
	// variables of env; only update is timed. It ends when all is synced.
	before, update, after string
	// free of: what is no update has nothing in the slot to look at.
	yardstick bool
}

// setting is how fast the node's disk and its link are.
type setting struct{ slowDisk, slowLink bool }

var (
	fastNode = setting{}
	linkOnly = setting{slowLink: true}
	slowNode = setting{slowDisk: true, slowLink: true}
)

// newArena packs and signs all releases and builds the node's disk.
func newArena(ctx context.Context, bin, tools, dir string, releases []release) (_ *arena, err error) {
	a := &arena{bin: bin, tools: tools, dir: dir, payloads: make(map[string]payload), published: make(map[string]bool), holds: "?"}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if err := command(ctx, "", a.tool("repo-tool"), "init", "--repo", a.www("tufboot"), "--keys", a.at("keys"), "--unsafe-plaintext-keys"); err != nil {
		return nil, err
	}
	if err := makeKeys(ctx, a.dir); err != nil {
		return nil, err
	}
	for i, packing := range packings {
		for _, r := range releases {
			p := payload{id: payloadID(r.version, i), kernel: r.kernel}
			if p.initramfs, err = r.packed(ctx, a.bin, packing); err != nil {
				return nil, err
			}
			if p.size, err = totalSize(p.kernel, p.initramfs); err != nil {
				return nil, err
			}
			a.payloads[p.id] = p
			err := command(ctx, "", a.tool("repo-tool"), "publish", "--repo", a.www("tufboot"), "--keys", a.at("keys"), "--channel", packingChannel(i),
				"--version", p.id, "--kernel", p.kernel, "--initramfs", p.initramfs)
			if err != nil {
				return nil, err
			}
		}
	}
	if a.fast, err = newSite(ctx, a.at("fast"), a.www("")); err != nil {
		return nil, err
	}
	if a.slow, err = newLink(ctx, a.at("slow"), a.www("")); err != nil {
		return nil, err
	}
	first := a.payloads[payloadID(1, recommended())]
	a.node, err = newNode(ctx, a.tool("repo-tool"), a.at("node"), a.www("tufboot/metadata/1.root.json"), releases[0], first.initramfs)
	return a, err
}

func (a *arena) at(name string) string   { return filepath.Join(a.dir, name) }
func (a *arena) www(name string) string  { return filepath.Join(a.dir, "www", name) }
func (a *arena) tool(name string) string { return filepath.Join(a.bin, name) }

func packingChannel(i int) string { return "packing" + strconv.Itoa(i) }

func (a *arena) close() {
	if a.node != nil {
		a.node.close()
	}
	for _, s := range []*site{a.fast, a.slow} {
		if s != nil {
			s.close()
		}
	}
}

// run lets a peer bring the node to a payload, from another that the running
// slot holds ("": from nothing), and looks whether it did.
func (a *arena) run(ctx context.Context, p peer, from, to string, where setting) (cost, error) {
	for _, id := range []string{from, to} {
		if err := a.publish(ctx, p, id); err != nil {
			return cost{}, err
		}
	}
	if err := a.hold(ctx, from); err != nil {
		return cost{}, fmt.Errorf("slot A gets %q: %w", from, err)
	}
	if err := errors.Join(a.node.reset(ctx), warm(a.www(filepath.Join(p.name, to))), warm(a.www("tufboot"))); err != nil {
		return cost{}, err
	}
	server := a.fast
	if where.slowLink {
		server = a.slow
	}
	if where.slowDisk {
		if err := a.node.throttle(slowDisk); err != nil {
			return cost{}, err
		}
		defer func() { _ = a.node.throttle(0) }()
	}
	c, err := a.timed(ctx, p, from, to, server)
	if err != nil {
		return cost{}, fmt.Errorf("%s, %s to %s: %w", p.name, from, to, err)
	}
	if p.yardstick {
		return c, nil
	}
	if err := errors.Join(a.node.throttle(0), a.node.check(ctx, a.payloads[to])); err != nil {
		return cost{}, fmt.Errorf("%s, %s to %s: %w", p.name, from, to, err)
	}
	return c, nil
}

// publish puts a payload on the server in the peer's own form, once.
func (a *arena) publish(ctx context.Context, p peer, id string) error {
	at := a.www(filepath.Join(p.name, id))
	if p.publish == nil || id == "" || a.published[at] {
		return nil
	}
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	a.published[at] = true
	if err := p.publish(ctx, a, a.payloads[id], at); err != nil {
		return fmt.Errorf("%s: publish %s: %w", p.name, id, err)
	}
	return nil
}

// hold lets slot A hold a payload ("": nothing), put there by the agent.
func (a *arena) hold(ctx context.Context, id string) error {
	if id == a.holds {
		return nil
	}
	if err := errors.Join(a.node.reset(ctx), a.node.clear(ctx, grub.SlotA)); err != nil || id == "" {
		a.holds = id
		return err
	}
	if err := os.WriteFile(a.node.grubenv(), grub.InitialBlock(grub.SlotB), 0o644); err != nil {
		return err
	}
	a.holds = id
	return command(ctx, "", a.tool("agent"), "apply", "--server", a.fast.url+"/tufboot", "--root", a.www("tufboot/metadata/1.root.json"),
		"--state-dir", filepath.Join(a.node.data(), "state"), "--disk", a.node.loop, "--booted-slot", "B", "--grubenv", a.node.grubenv(),
		"--release", id, "--log-level", "error")
}

// timed runs the script between two looks at the counters.
func (a *arena) timed(ctx context.Context, p peer, from, to string, server *site) (cost, error) {
	marks := a.at("marks")
	if err := os.WriteFile(marks, nil, 0o644); err != nil {
		return cost{}, err
	}
	want, held := a.payloads[to], a.payloads[from]
	const mark = "\ndate +%s%N >> $MARKS\n"
	s := script{text: limited(p.before + mark + p.update + mark + p.after), env: []string{
		"URL=" + server.url + "/" + p.name + "/" + to, "TUFBOOT=" + server.url + "/tufboot", "TO=" + to, "FROM=" + from,
		"ROOT=" + a.www("tufboot/metadata/1.root.json"), "KERNEL=" + want.kernel, "INITRAMFS=" + want.initramfs,
		"OLDKERNEL=" + held.kernel, "OLDINITRAMFS=" + held.initramfs,
		"BIN=" + a.bin, "TOOLS=" + a.tools, "WORK=" + a.dir, "PUBLISHED=" + a.www(p.name), "MARKS=" + marks,
		"LOOP=" + a.node.loop, "SLOT=" + a.node.slot(grub.SlotB), "OLDSLOT=" + a.node.slot(grub.SlotA), "DATADEV=" + a.node.loop + "p4",
		"DATA=" + a.node.data(), "MNT=" + a.node.at("mnt"), "OLD=" + a.node.at("old"), "GRUBENV=" + a.node.grubenv(), "TMPDIR=" + a.node.data(),
	}}
	if err := server.sent(new(cost)); err != nil {
		return cost{}, err
	}
	read, written, err := traffic(a.node.loop)
	if err != nil {
		return cost{}, err
	}
	before, err := server.cpu()
	if err != nil {
		return cost{}, err
	}
	var c cost
	if _, c.memory, err = timed(ctx, s); err != nil {
		return cost{}, err
	}
	syscall.Sync()
	readAfter, writtenAfter, err := traffic(a.node.loop)
	if err != nil {
		return cost{}, err
	}
	c.read, c.written = readAfter-read, writtenAfter-written
	if err := server.sent(&c); err != nil {
		return cost{}, err
	}
	if after, err := server.cpu(); err == nil && server == a.fast && p.name == agentPeer.name && from == "" {
		a.serverTime, a.serverSent = a.serverTime+after-before, a.serverSent+c.network
	}
	data, err := os.ReadFile(marks)
	if err != nil {
		return cost{}, err
	}
	var start, end int64
	if _, err := fmt.Sscan(string(data), &start, &end); err != nil {
		return cost{}, fmt.Errorf("%s: %w", marks, err)
	}
	c.began, c.wall = time.Unix(0, start), time.Duration(end-start)
	return c, nil
}

// serverPerGB is the processor time that nginx took for each GB of the agent's
// full updates on loopback.
func (a *arena) serverPerGB() time.Duration {
	if a.serverSent == 0 {
		return 0
	}
	return time.Duration(float64(a.serverTime) / float64(a.serverSent) * 1e9)
}

// warm reads what the server will send: the node is measured, not the server's disk.
func warm(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(io.Discard, f)
		return err
	})
}

func totalSize(files ...string) (total int64, err error) {
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return total, nil
}
