package grub

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"text/template"
)

// Names of the files in a slot that grub.cfg loads.
const (
	KernelFile    = "vmlinuz"
	InitramfsFile = "initramfs"
	// CmdlineFile sets the release's kernel arguments (see CmdlineConfig).
	CmdlineFile = "cmdline.cfg"
	// SumsFile lists the SHA-256 of the files of a slot (see Sums).
	SumsFile = "SHA256SUMS"
)

// SettingsFile is a block of the same format beside the environment block, that only
// an operator writes (grub-editenv, say). grub.cfg reads from it
//
//	check_slots=off|trial|always   when a slot is compared with its SumsFile; trial
const SettingsFile = "settings"

// varCheck is the variable in SettingsFile.
const varCheck = "check_slots"

// CheckMode says before which boots GRUB compares a slot with its SumsFile.
type CheckMode string

// The values of check_slots.
const (
	CheckOff    CheckMode = "off"
	CheckTrial  CheckMode = "trial" // the default
	CheckAlways CheckMode = "always"
)

// stuckArgs make a kernel panic when one of its processors is stuck: in the kernel
// with interrupts on, for 20 seconds (softlockup_panic), or with interrupts off, where
// the machine can count that (nmi_watchdog). Not hung_task_panic: a task that waits
// for a dead file server is no reason to give a release up.
const stuckArgs = "softlockup_panic=1 nmi_watchdog=panic"

// SlotLabels are the file-system labels by which GRUB finds the slots on the disk
// that it was loaded from.
type SlotLabels struct{ SystemA, SystemB string }

// ConfigOptions are what can be chosen about a grub.cfg. The zero value is a
// sensible choice; a zero field takes the default that it names.
type ConfigOptions struct {
	Labels SlotLabels // SYSTEM-A, SYSTEM-B
	// Timeout is how many seconds ESC has to stop the automatic boot: 3. Negative:
	// the menu cannot be reached.
	Timeout int
	// MenuTimeout is how many seconds the menu is shown before the first entry
	// boots after all, if no key is pressed: 60.
	MenuTimeout int
	// RebootAfter is how many seconds GRUB waits before it reboots when nothing can
	// be booted: 30. Negative: at once.
	RebootAfter int
	SerialUnit  int // 0, the first serial port
	SerialSpeed int // 115200 baud
}

// labelForm is what both FAT and ext4 take as a label and GRUB's script language
// does not interpret.
var labelForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,15}$`)

//go:embed grub.cfg.tmpl
var configTemplate string

// Config returns the grub.cfg that acts on the boot state as State.Boot says.
func Config(o ConfigOptions) ([]byte, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("grub.cfg: %w", err)
	}
	t, err := template.New("grub.cfg").Option("missingkey=error").Parse(configTemplate)
	if err != nil {
		return nil, fmt.Errorf("grub.cfg: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, newConfigData(o)); err != nil {
		return nil, fmt.Errorf("grub.cfg: %w", err)
	}
	return out.Bytes(), nil
}

func (o ConfigOptions) withDefaults() ConfigOptions {
	set := func(field *int, value int) {
		switch {
		case *field == 0:
			*field = value
		case *field < 0:
			*field = 0
		}
	}
	set(&o.Timeout, 3)
	set(&o.MenuTimeout, 60)
	set(&o.RebootAfter, 30)
	set(&o.SerialSpeed, 115200)
	if o.Labels.SystemA == "" {
		o.Labels.SystemA = "SYSTEM-A"
	}
	if o.Labels.SystemB == "" {
		o.Labels.SystemB = "SYSTEM-B"
	}
	return o
}

func (o ConfigOptions) check() error {
	for _, label := range []string{o.Labels.SystemA, o.Labels.SystemB} {
		if !labelForm.MatchString(label) {
			return fmt.Errorf("label %q: use 1 to 16 of A-Z a-z 0-9 _ -, starting with a letter or digit", label)
		}
	}
	switch {
	case o.Labels.SystemA == o.Labels.SystemB:
		return fmt.Errorf("both slots have the label %q", o.Labels.SystemA)
	case o.MenuTimeout < 1:
		return errors.New("a menu without a time limit waits for ever")
	case o.SerialUnit < 0 || o.SerialUnit > 3:
		return fmt.Errorf("serial unit %d: GRUB knows 0 to 3", o.SerialUnit)
	}
	return nil
}

// configData is what the template sees.
type configData struct {
	ConfigOptions
	Slots       []slotData
	Attempts    int
	Counts      []countData
	KernelFile  string
	CmdlineFile string
	NoBootID    string

	InitramfsFile string
	LastEntry     int // number of the menu's last entry, which sleeps and reboots

	SumsFile, SettingsFile            string
	VarCheck                          string
	CheckOff, CheckTrial, CheckAlways CheckMode
	StuckArgs                         string
}

type slotData struct{ Name, Other, Label, Key string }

// countData is one step of counting down, which upstream GRUB has no arithmetic for.
type countData struct{ From, To, Try int }

func newConfigData(o ConfigOptions) configData {
	d := configData{
		ConfigOptions: o,
		Slots: []slotData{
			{Name: "A", Other: "B", Label: o.Labels.SystemA, Key: "a"},
			{Name: "B", Other: "A", Label: o.Labels.SystemB, Key: "b"},
		},
		Attempts:      Attempts,
		KernelFile:    KernelFile,
		InitramfsFile: InitramfsFile,
		CmdlineFile:   CmdlineFile,
		NoBootID:      noBootID,
		SumsFile:      SumsFile,
		SettingsFile:  SettingsFile,
		VarCheck:      varCheck,
		CheckOff:      CheckOff,
		CheckTrial:    CheckTrial,
		CheckAlways:   CheckAlways,
		StuckArgs:     stuckArgs,
	}
	for from := Attempts; from > 0; from-- {
		d.Counts = append(d.Counts, countData{From: from, To: from - 1, Try: Attempts - from + 1})
	}
	d.LastEntry = strings.Count(configTemplate, "\nmenuentry ") + len(d.Slots) - 1 - 1
	return d
}
