package grub

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

func checkGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		writeFile(t, path, got)
	}
	if want := readFile(t, path); !bytes.Equal(got, want) {
		t.Errorf("%s differs; if that is right, run: go test ./grub -run %s -update", path, t.Name())
	}
}

func TestConfigGolden(t *testing.T) {
	cfg, err := Config(ConfigOptions{})
	if err != nil {
		t.Fatal(err)
	}
	checkGolden(t, "grub.cfg", cfg)
	checkSyntax(t, cfg)
}

func TestCmdlineConfigGolden(t *testing.T) {
	cfg, err := CmdlineConfig("console=tty0 console=ttyS0,115200 quiet x=$y;#{}<>!%&|*?[] -- single quiet")
	if err != nil {
		t.Fatal(err)
	}
	checkGolden(t, "cmdline.cfg", cfg)
	checkSyntax(t, cfg)
}

func checkSyntax(t *testing.T, cfg []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "checked.cfg")
	writeFile(t, path, cfg)
	tool(t, "grub-common", "grub-script-check", path)
}

func TestConfigOptions(t *testing.T) {
	for name, o := range map[string]ConfigOptions{
		"same labels":   {Labels: SlotLabels{SystemA: "X", SystemB: "X"}},
		"script":        {Labels: SlotLabels{SystemA: `X"; reboot; "`}},
		"variable":      {Labels: SlotLabels{SystemB: "$root"}},
		"too long":      {Labels: SlotLabels{SystemA: strings.Repeat("x", 17)}},
		"endless menu":  {MenuTimeout: -1},
		"no such port":  {SerialUnit: 4},
		"negative port": {SerialUnit: -1},
	} {
		if cfg, err := Config(o); err == nil {
			t.Errorf("%s: accepted:\n%s", name, cfg)
		}
	}
	cfg, err := Config(ConfigOptions{Labels: SlotLabels{SystemA: "root-1", SystemB: "root-2"}, Timeout: 7, SerialUnit: 1, SerialSpeed: 9600})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`= "root-1"`, `= "root-2"`, "sleep --interruptible 7;", "--unit=1 --speed=9600"} {
		if !strings.Contains(string(cfg), want) {
			t.Errorf("%q is not in the grub.cfg", want)
		}
	}
}

// TestFallbackIsTheLastResort: the menu's own fallback, which is used if an entry
// fails in a way that the entry does not handle, is the entry that reboots.
func TestFallbackIsTheLastResort(t *testing.T) {
	cfg, err := Config(ConfigOptions{})
	if err != nil {
		t.Fatal(err)
	}
	entries := strings.Split(string(cfg), "\nmenuentry ")[1:]
	last := len(entries) - 1
	if !strings.HasPrefix(entries[last], `"Wait and reboot"`) {
		t.Errorf("the last entry is %s", entries[last])
	}
	if want := "\nset fallback=" + string(rune('0'+last)) + "\n"; !strings.Contains(string(cfg), want) {
		t.Errorf("%q is not in the grub.cfg", want)
	}
	for _, entry := range entries {
		body, _, _ := strings.Cut(entry, "\n}")
		if !strings.HasSuffix(body, "\n  tufboot_last_resort") {
			t.Errorf("an entry that does not boot would leave GRUB waiting in its menu:\n%s", body)
		}
	}
}

func TestCmdlineConfigRefuses(t *testing.T) {
	for _, in := range []string{`a="b c"`, "a='b'", `a\b`, "a\nb", "a\tb", "ä", "/dev/*", "(hd0)/?", "*", "tufboot.slot=B"} {
		if out, err := CmdlineConfig(in); err == nil {
			t.Errorf("%q: %s", in, out)
		}
	}
}

// TestModulesHaveEveryCommand: an image with Modules and what these depend on, as
// GRUB's own lists say, knows every command in the grub.cfg.
func TestModulesHaveEveryCommand(t *testing.T) {
	cfg, err := Config(ConfigOptions{})
	if err != nil {
		t.Fatal(err)
	}
	commands := commandsOf(string(cfg))
	for _, needed := range []string{"linux", "initrd", "boot", "save_env", "regexp", "reboot"} {
		if !slices.Contains(commands, needed) {
			t.Errorf("%s is not among the commands found: %v", needed, commands)
		}
	}
	for _, platform := range []string{"i386-pc", "x86_64-efi"} {
		dir := filepath.Join("/usr/lib/grub", platform)
		if _, err := os.Stat(dir); err != nil {
			t.Fatalf("%v: install the Debian packages grub-pc-bin and grub-efi-amd64-bin", err)
		}
		have := closure(readLists(t, filepath.Join(dir, "moddep.lst")), Modules(platform))
		providers := readLists(t, filepath.Join(dir, "command.lst"))
		for _, command := range commands {
			if module := providers[command]; len(module) > 0 && !slices.Contains(have, module[0]) {
				t.Errorf("%s: command %s needs module %s", platform, command, module[0])
			} else if len(module) == 0 {
				t.Errorf("%s: GRUB has no command %s", platform, command)
			}
		}
	}
	if Modules("sparc64") != nil {
		t.Error("modules for an unknown platform")
	}
	if Modules("arm64-efi") == nil {
		t.Error("no modules for arm64-efi")
	}
}

// commandsOf returns the first words of a script's commands.
func commandsOf(cfg string) []string {
	keyword := regexp.MustCompile(`^(if|elif|else|fi|then|for|do|done|function|menuentry|set|unset|return|[{}]|tufboot_.*)$`)
	quoted := regexp.MustCompile(`"[^"]*"|'[^']*'`)
	var found []string
	for line := range strings.Lines(cfg) {
		line = strings.TrimSpace(quoted.ReplaceAllString(line, "x"))
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "for ") {
			continue
		}
		for part := range strings.SplitSeq(line, ";") {
			words := strings.Fields(part)
			for len(words) > 0 && keyword.MatchString(words[0]) && slices.Contains([]string{"if", "elif", "else", "then"}, words[0]) {
				words = words[1:]
			}
			if len(words) > 0 && !keyword.MatchString(words[0]) && !slices.Contains(found, words[0]) {
				found = append(found, words[0])
			}
		}
	}
	return found
}

// readLists reads GRUB's "name: word word" files. A "*" before a name means
// something else than we need.
func readLists(t *testing.T, path string) map[string][]string {
	lists := make(map[string][]string)
	for line := range strings.Lines(string(readFile(t, path))) {
		name, words, _ := strings.Cut(line, ":")
		lists[strings.TrimPrefix(name, "*")] = strings.Fields(words)
	}
	return lists
}

func closure(deps map[string][]string, modules []string) []string {
	var all []string
	for len(modules) > 0 {
		m := modules[0]
		modules = modules[1:]
		if !slices.Contains(all, m) {
			all = append(all, m)
			modules = append(modules, deps[m]...)
		}
	}
	return all
}
