package main

import "testing"

func TestCommand(t *testing.T) {
	long := "/a/rather/long/path/to/a/kernel/or/an/initramfs/somewhere"
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"init", "--repo", "r"}, "repo-tool init --repo r"},
		{[]string{"publish", "--cmdline", "quiet panic=1"}, "repo-tool publish --cmdline 'quiet panic=1'"},
		{[]string{"publish", "--kernel", long, "--initramfs", long}, "repo-tool publish --kernel " + long + " \\\n     --initramfs " + long},
	} {
		if got := command("repo-tool", test.args); got != test.want {
			t.Errorf("got\n%s\nwant\n%s", got, test.want)
		}
	}
}

func TestWorthShowing(t *testing.T) {
	for line, want := range map[string]string{
		"tufboot: slot B (ESC: menu)tufboot: slot B (ESC: menu)": "tufboot: slot B (ESC: menu)",
		"tufboot: booting slot A":                                "tufboot: booting slot A",
		"[   11.945390] tufboot-gate: the trial is committed":    "tufboot-gate: the trial is committed",
		"[    0.784713] APIC calibration not consistent":         "",
	} {
		got := ""
		if m := worthShowing.FindStringSubmatch(line); m != nil {
			got = once(m[1])
		}
		if got != want {
			t.Errorf("%q: shown as %q, want %q", line, got, want)
		}
	}
}
