package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/agent/health"
	"tufboot/agent/update"
	"tufboot/grub"
	"tufboot/internal/console"
)

func healthcheckCommand() *cli.Command {
	return &cli.Command{
		Name:  "healthcheck",
		Usage: "run the health checks; they decide a trial",
		Description: `On a trial boot a healthy node marks the release good, and an unhealthy one is
rebooted (with --reboot-on-failure), so that GRUB counts and in the end rolls
back. Without a trial the health is only reported; nothing is rebooted.

With --give-back no check is run: somebody reboots the machine or switches it off
in good order, and a trial boot that is not decided by then is not counted, three
times a trial at most.

Examples:

   agent healthcheck
   agent healthcheck --report-only --wait 10m         # in a pod
   agent healthcheck --wait 10m --reboot-on-failure   # what the boot service runs
   agent healthcheck --give-back                      # what a shutdown runs`,
		Flags: commonFlags(
			&cli.DurationFlag{Name: "lock-wait", Usage: "wait so `LONG` for another agent to end", Value: 3 * time.Minute, EnvVars: []string{"TUFBOOT_LOCK_WAIT"}},
			&cli.DurationFlag{Name: "wait", Usage: "go on for so `LONG` until all required checks pass (default: one round; for a trial: health.deadline)"},
			&cli.BoolFlag{Name: "reboot-on-failure", Usage: "reboot when a trial fails"},
			&cli.BoolFlag{Name: "give-back", Usage: "do not count this trial boot, unless it failed: the machine is being shut down"},
			&cli.BoolFlag{Name: "report-only", Usage: "run the checks and decide nothing; needs no access to the disk"}),
		Action: func(c *cli.Context) error {
			err := verb(healthcheck)(c)
			var usage *console.UsageError
			if !errors.As(err, &usage) || !c.Bool("reboot-on-failure") || c.Args().Present() || !onTrial() {
				return err
			}
			// Nothing was looked at, because the configuration that the release
			// brought is wrong. Its command for a reboot is not known either.
			return errors.Join(err, update.LeaveSentinel(filepath.Join(defaultSettings().RunDir, update.TrialFailed), err.Error()), update.Reboot(c.Context, nil))
		},
	}
}

// onTrial reports whether the kernel was started for a counted trial boot.
func onTrial() bool {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return false
	}
	booted, err := grub.ParseKernelCmdline(string(line))
	return err == nil && booted.Try > 0
}

func healthcheck(ctx context.Context, c *cli.Context, s *session) error {
	if c.Bool("give-back") {
		return s.giveBack(ctx)
	}
	report, err := s.gate(ctx)
	failed := s.trialFailed(report, err) && (ctx.Err() == nil || report.Verdict == update.VerdictFailed)
	switch { // before a word is printed: a broken pipe must not keep the reboot away
	case failed:
		s.tell(update.TrialFailed, err.Error())
	case report.Verdict == update.VerdictCommitted:
		s.tell(update.TrialDecided, "committed")
	}
	if report.Verdict != "" {
		err = errors.Join(err, print(c, report, healthText(report)))
	}
	if !failed || !c.Bool("reboot-on-failure") || ctx.Err() != nil {
		return err
	}
	s.log.Error("the trial failed; rebooting, so that GRUB tries it again or rolls back", "error", err)
	return errors.Join(err, update.Reboot(ctx, s.cfg.Reboot.Command))
}

// tell leaves a file for whatever else of this boot goes by the gate's verdict.
func (s *session) tell(file, why string) {
	if err := update.LeaveSentinel(filepath.Join(s.cfg.RunDir, file), why); err != nil {
		s.log.Warn("nobody is told what became of the trial", "error", err)
	}
}

// giveBack ends a boot in good order.
func (s *session) giveBack(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(s.cfg.RunDir, update.TrialFailed)); err == nil {
		return s.gaveBack(false, "this trial boot failed, and stays counted")
	}
	n, err := s.node()
	if err != nil {
		return err
	}
	return s.locked(ctx, func() error {
		given, err := n.GiveBack()
		if err != nil {
			return err
		}
		if !given {
			return s.gaveBack(false, "nothing is on trial")
		}
		return s.gaveBack(true, fmt.Sprintf("trial boot %d of slot %s is not counted", s.booted.Try, s.booted.Slot))
	})
}

func (s *session) gaveBack(given bool, text string) error {
	return print(s.cli, struct {
		GivenBack bool `json:"given_back"`
	}{given}, text)
}

// gate runs the checks and has them decide a trial. A report without a verdict
// says that it could not even look.
func (s *session) gate(ctx context.Context) (update.GateReport, error) {
	opts, err := s.checks()
	if err != nil {
		return update.GateReport{}, err
	}
	run := func(ctx context.Context) health.Report {
		if opts.Deadline == 0 {
			return health.Run(ctx, opts)
		}
		return health.Wait(ctx, opts)
	}
	if s.cli.Bool("report-only") {
		return update.ReportHealth(ctx, run)
	}
	n, err := s.node()
	if err != nil {
		return update.GateReport{}, err
	}
	return n.HealthCheck(ctx, func() (*update.Lock, error) { return s.lock(ctx) }, run)
}

// trialFailed reports whether this boot is a trial that has to end: it was
// found unhealthy, or the gate could not even look. That another agent holds
// the lock says nothing about the trial.
func (s *session) trialFailed(report update.GateReport, err error) bool {
	return report.Verdict == update.VerdictFailed ||
		err != nil && report.Verdict == "" && s.booted.Try > 0 && !s.cli.Bool("report-only") &&
			console.ReasonCode(err) != update.ReasonLocked
}

// checks builds the gate from the configuration.
func (s *session) checks() (health.Options, error) {
	h := s.cfg.Health
	opts := health.Options{Timeout: h.Timeout, Interval: h.Interval, Deadline: s.cli.Duration("wait"), Logger: s.log}
	if opts.Deadline == 0 && s.booted.Try > 0 && !s.cli.Bool("report-only") {
		opts.Deadline = h.Deadline
	}
	kube := health.KubeOptions{Kubeconfig: h.APIServer.Kubeconfig, Logger: s.log}
	if h.Containerd.Enabled {
		opts.Required = append(opts.Required, health.Containerd(h.Containerd.Socket))
	}
	if h.APIServer.Enabled {
		opts.Required = append(opts.Required, health.APIServer(kube))
	}
	if h.NodeReady.Enabled {
		name, err := nodeName(h.NodeReady.Node)
		if err != nil {
			return opts, err
		}
		opts.Required = append(opts.Required, health.NodeReady(kube, name))
	}
	if h.DropIn.Enabled {
		dir, err := filepath.Abs(h.DropIn.Dir) // a check does not start in this folder
		if err != nil {
			return opts, err
		}
		required, wanted, err := health.DropIns(dir)
		if err != nil {
			return opts, err
		}
		opts.Required = append(opts.Required, required...)
		opts.Wanted = append(opts.Wanted, wanted...)
	}
	return opts, nil
}

// nodeName is the name by which Kubernetes knows this node: the configured
// one, $NODE_NAME (the downward API's usual place), or the host name.
func nodeName(configured string) (string, error) {
	if configured != "" {
		return configured, nil
	}
	if name := os.Getenv("NODE_NAME"); name != "" {
		return name, nil
	}
	name, err := os.Hostname()
	return strings.ToLower(name), err
}

func healthText(r update.GateReport) string {
	var b strings.Builder
	for _, res := range r.Health.Results {
		mark, kind := "ok    ", "required"
		if !res.Passed {
			mark = "FAILED"
		}
		if !res.Required {
			kind = "wanted"
		}
		fmt.Fprintf(&b, "%s  %-8s  %s (%s)", mark, kind, res.Name, res.Duration.Round(time.Millisecond))
		if res.Error != "" {
			fmt.Fprintf(&b, ": %s", res.Error)
		}
		b.WriteByte('\n')
	}
	switch {
	case r.Verdict == update.VerdictCommitted:
		fmt.Fprintf(&b, "healthy: slot %s is committed", r.Slot)
	case r.Verdict == update.VerdictFailed:
		fmt.Fprintf(&b, "the trial of slot %s is not committed", r.Slot)
	case r.Verdict == update.VerdictUndecided:
		fmt.Fprintf(&b, "the trial of slot %s is not decided", r.Slot)
	case r.Verdict == update.VerdictNone && r.Health.Healthy:
		b.WriteString("healthy; nothing is decided by this")
	case r.Health.Healthy:
		b.WriteString("healthy; nothing is on trial")
	case r.Verdict == update.VerdictNone:
		b.WriteString("unhealthy; nothing is decided by this")
	default:
		b.WriteString("unhealthy; nothing is on trial")
	}
	return b.String()
}
