package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/agent/update"
	"tufboot/grub"
	"tufboot/image"
	"tufboot/internal/console"
	"tufboot/metadata"
	"tufboot/metadata/client"
)

// session is what one run of a verb works with.
type session struct {
	cfg    config
	log    *slog.Logger
	booted grub.Booted
	rescue bool
	cli    *cli.Context
}

func openSession(c *cli.Context) (*session, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return nil, console.Usagef("--log-level %q: use debug, info, warn or error", c.String("log-level"))
	}
	log, err := console.Logger(c.App.ErrWriter, c.String("log-format"), level)
	if err != nil {
		return nil, err
	}
	cfg, err := loadConfig(c)
	if err != nil {
		return nil, err
	}
	s := &session{cfg: cfg, log: log, cli: c}
	return s, s.findBooted(c.String("booted-slot"))
}

// findBooted learns the running slot from the kernel's command line, or from
// the operator.
func (s *session) findBooted(flag string) error {
	if flag == "none" {
		s.rescue = true
		return nil
	}
	if flag != "" {
		slot, err := grub.ParseSlot(flag)
		if err != nil {
			return console.Usagef("--booted-slot: %w", err)
		}
		s.booted.Slot = slot
		return nil
	}
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return fmt.Errorf("learn which slot is running: %w", err)
	}
	s.booted, err = grub.ParseKernelCmdline(string(line))
	return err
}

func (s *session) labels() image.Labels {
	l := s.cfg.Labels
	return image.Labels{EFI: l.EFI, SystemA: l.SystemA, SystemB: l.SystemB, Data: l.Data}
}

func (s *session) findDisk() (*image.Disk, error) {
	return image.Find(image.FindOptions{Disk: s.cfg.Disk, ESP: s.booted.ESP, Labels: s.labels()})
}

// node opens the node without its repository.
func (s *session) node() (*update.Node, error) {
	disk, err := s.findDisk()
	if err != nil {
		return nil, err
	}
	kernelID, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("learn the kernel's boot id: %w", err)
	}
	return update.New(update.Options{
		StateDir: s.cfg.StateDir,
		Disk:     disk,
		Grubenv:  s.cfg.Grubenv,
		Booted:   s.booted,
		Rescue:   s.rescue,
		KernelID: strings.TrimSpace(string(kernelID)),
		Channel:  s.cfg.Channel,
		Arch:     runtime.GOARCH,
		Policy: update.Policy{
			Seed:              s.cfg.RolloutSeed,
			FollowMaintenance: s.cfg.Maintenance == maintenanceFollow,
			Now:               s.cli.Bool("now"),
		},
		NoDelta: !s.cfg.Delta || s.cli.Bool("no-delta"),
		Logger:  s.log,
	}), nil
}

// updater opens the node with its repository and a display of progress.
func (s *session) updater() (n *update.Node, done func(), err error) {
	n, err = s.node()
	if err != nil {
		return nil, nil, err
	}
	opts, err := s.clientOptions()
	if err != nil {
		return nil, nil, err
	}
	n.Client, err = client.New(opts)
	var wrong *client.VerificationError
	switch {
	case errors.As(err, &wrong):
		return nil, nil, fmt.Errorf("%s: %w", s.cfg.Root, err)
	case err != nil:
		return nil, nil, console.Usagef("%w", err)
	}
	display := new(transfers)
	if s.showsProgress() {
		display.out = os.Stderr
		n.Progress = display.set
	}
	restore := s.yield()
	return n, func() { display.close(); restore() }, nil
}

// showsProgress reports whether a person, or a person's log, follows on standard
// error: not where a machine reads JSON there, or only warnings are wanted.
func (s *session) showsProgress() bool {
	return s.cli.String("log-format") == "text" && !s.cli.Bool("json") && s.log.Enabled(context.Background(), slog.LevelInfo)
}

// yield lowers the priority, if it is to be low, and returns what restores it.
// In a container that may not do it, the update goes on as it is.
func (s *session) yield() (restore func()) {
	if s.cfg.Priority != priorityLow {
		return func() {}
	}
	restore, err := yield()
	if err != nil {
		s.log.Warn("updating with normal priority", "error", err)
	}
	return restore
}

// transfers shows the transfer of one file after the other.
type transfers struct {
	out  *os.File
	file string
	bar  *console.Progress
}

func (t *transfers) set(file string, done, total int64) {
	if file != t.file {
		t.close()
		t.file, t.bar = file, console.NewProgress(t.out, file, total)
	}
	t.bar.Set(done)
}

func (t *transfers) close() { t.bar.Close() }

func (s *session) clientOptions() (client.Options, error) {
	if s.cfg.Server == "" {
		return client.Options{}, console.Usagef("no server: set `server:` in %s, or --server", s.cli.String("config"))
	}
	if err := metadata.CheckChannel(s.cfg.Channel); err != nil {
		return client.Options{}, console.Usagef("`channel:` in %s, or --channel: %w", s.cli.String("config"), err)
	}
	root, err := os.ReadFile(s.cfg.Root)
	if err != nil {
		return client.Options{}, console.Usagef("the trusted root.json: %w", err)
	}
	floor, err := clockFloor()
	if err != nil {
		return client.Options{}, err
	}
	rate, err := parseRate(s.cfg.BandwidthLimit)
	if err != nil {
		return client.Options{}, console.Usagef("%w", err)
	}
	return client.Options{
		Server: s.cfg.Server, Root: root, Dir: filepath.Join(s.cfg.StateDir, "metadata"),
		ClockFloor: floor, Logger: s.log, UserAgent: "tufboot-agent/" + version,
		BytesPerSecond: rate,
	}, nil
}

// clockFloor is when this binary was built: no clock before that is believed.
func clockFloor() (time.Time, error) {
	if buildTime == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, buildTime)
	if err != nil {
		return time.Time{}, fmt.Errorf("the build time of this binary: %w", err)
	}
	return t, nil
}

// lock takes the right to change the node; --lock-wait says how long to wait.
func (s *session) lock(ctx context.Context) (*update.Lock, error) {
	wait := s.cli.Duration("lock-wait")
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	return update.Acquire(ctx, s.cfg.StateDir, wait > 0)
}

// locked runs work while holding the lock.
func (s *session) locked(ctx context.Context, work func() error) error {
	l, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer l.Release()
	return work()
}
