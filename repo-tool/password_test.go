package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tufboot/metadata/storage"
)

// TestPromptUnlocked: while somebody is asked for a password, the repository is
// not locked.
func TestPromptUnlocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, data := range map[string]string{"pw": "secret", "k": "kernel"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := func(args string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "repo-tool", strings.Fields(args)...)
		cmd.Dir = dir
		return cmd
	}
	const keys = " --repo repo --keys keys --keys secret"
	for _, args := range []string{
		"init --repo repo --keys keys --unsafe-plaintext-keys",
		"key generate --out secret --name snapshot-2 --password-file pw",
		"key generate --out secret --name timestamp-2 --password-file pw",
		"key generate --out new --name new --unsafe-plaintext-keys",
		"root propose --repo repo -o event.json --add-key snapshot=secret/snapshot-2.pub --remove-key snapshot=keys/snapshot.pub" +
			" --add-key timestamp=secret/timestamp-2.pub --remove-key timestamp=keys/timestamp.pub",
		"root sign event.json --keys keys --yes",
	} {
		if out, err := command(args).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args, err, out)
		}
	}
	repo := storage.NewFolder(filepath.Join(dir, "repo"))
	for _, c := range []struct {
		args    string
		prompts int
	}{
		{"root publish event.json", 2},
		{"publish --version 1 --channel beta --kernel k --initramfs k", 2},
		{"promote --from beta --to stable", 2},
		{"refresh --all", 2},
		{"key add --role root --public new/new.pub", 1},
		{"withdraw 1 --channel beta --leave-empty", 2},
		{"withdraw 1 --channel stable --leave-empty", 2},
		{"prune --keep 0 --grace 1m --unsafe-now " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339), 2},
	} {
		c.args += keys
		prompts := answerPrompts(t, command(c.args), "secret", func() {
			unlock, err := repo.Lock(t.Context())
			if err != nil {
				t.Fatalf("%s: while it asks for a password: %v", c.args, err)
			}
			unlock()
		})
		if prompts != c.prompts {
			t.Errorf("%s: %d prompts, want %d", c.args, prompts, c.prompts)
		}
	}
}

// answerPrompts runs a command on a terminal, answers each of its prompts for a
// password after a call of asked, and returns how many there were.
func answerPrompts(t *testing.T, cmd *exec.Cmd, password string, asked func()) int {
	t.Helper()
	master, terminal := openTerminal(t)
	defer master.Close()
	defer terminal.Close()
	cmd.Stdin = terminal
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	prompt := regexp.MustCompile(`Password of [^\n]*: `)
	var all bytes.Buffer
	prompts, part := 0, make([]byte, 512)
	for {
		n, err := pipe.Read(part)
		all.Write(part[:n])
		for seen := len(prompt.FindAll(all.Bytes(), -1)); prompts < seen; prompts++ {
			asked()
			if _, err := master.WriteString(password + "\n"); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, all.String())
	}
	return prompts
}
