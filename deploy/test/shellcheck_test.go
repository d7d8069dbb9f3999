package deploy_test

import (
	"os/exec"
	"testing"
)

func TestScriptsPassShellcheck(t *testing.T) {
	tool := needTool(t, "shellcheck", "shellcheck")
	for _, script := range []string{gateScript, "../initramfs/tufboot-initramfs", "../initramfs/hooks/tufboot"} {
		if out, err := exec.Command(tool, "--shell=sh", "--enable=require-double-brackets,quote-safe-variables", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
}
