package main

import (
	"golang.org/x/sys/unix"

	"tufboot/agent/confine"
)

// confine takes from this process what its verb does not need. It is the second wall
// and not the first, so a kernel or a container that refuses it is no reason to leave
// a node without its update.
func (s *session) confine() {
	if s.runsPrograms() {
		s.log.Debug("not confined: programs of this node's operator are run, and what they need is not known")
		return
	}
	if err := confine.Process(s.needs()); err != nil {
		s.log.Debug("not confined in everything", "error", err)
	}
}

// runsPrograms reports whether the verb may start a program: a drop-in check, or the
// command for a reboot.
func (s *session) runsPrograms() bool {
	return s.cli.Command.Name == "healthcheck" && s.cfg.Health.DropIn.Enabled || s.reboots() && len(s.cfg.Reboot.Command) > 0
}

// reboots reports whether the verb may end in a reboot.
func (s *session) reboots() bool {
	return s.cli.Bool("reboot") || s.cli.Bool("reboot-on-failure")
}

// needs is what is left of root's rights.
func (s *session) needs() confine.Needs {
	if s.cli.Bool("report-only") {
		return confine.Needs{Capabilities: []int{unix.CAP_DAC_OVERRIDE}}
	}
	needs := confine.Needs{
		Capabilities: []int{
			unix.CAP_SYS_ADMIN,    // to mount the slots and the ESP, detached, and to flush a device's cache
			unix.CAP_DAC_OVERRIDE, // an ESP that is mounted for another user, a repository in somebody's folder
		},
		Reboot: s.reboots(),
	}
	if needs.Reboot {
		needs.Capabilities = append(needs.Capabilities, unix.CAP_SYS_BOOT)
	}
	return needs
}
