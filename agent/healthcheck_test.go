package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/urfave/cli/v2"

	"tufboot/agent/update"
	"tufboot/grub"
)

// A trial that fails leaves word of it, so that the reboot that follows is counted; one
// that a shutdown interrupts does not, nor does a committed boot.
func TestFailedTrialLeavesWord(t *testing.T) {
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx  context.Context
		try  int
		want bool
	}{
		"trial":       {t.Context(), 1, true},
		"interrupted": {interrupted, 1, false},
		"committed":   {t.Context(), 0, false},
	} {
		cfg := defaultSettings()
		cfg.RunDir, cfg.StateDir, cfg.Disk, cfg.Health = t.TempDir(), t.TempDir(), "/nonexistent", healthConfig{}
		c := cli.NewContext(newApp(), flag.NewFlagSet("", flag.ContinueOnError), nil)
		s := &session{cfg: cfg, log: slog.New(slog.DiscardHandler), cli: c, booted: grub.Booted{Slot: grub.SlotB, Try: tt.try}}
		if err := healthcheck(tt.ctx, c, s); err == nil {
			t.Errorf("%s: healthy without a disk", name)
		}
		_, err := os.Stat(filepath.Join(cfg.RunDir, update.TrialFailed))
		if (err == nil) != tt.want {
			t.Errorf("%s: told %v, want %v", name, err == nil, tt.want)
		}
	}
}
