// Package lab is the workshop of the whole-system tests and the demo: it builds
// the two programs, keys, repositories, releases and disks out of which
// package machine makes machines. Everything goes through the real programs,
// as a release engineer would call them.
package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"tufboot/e2e/machine"
)

// Lab holds what all machines of a run share.
type Lab struct {
	Dir      string // everything that is made goes below it
	Agent    string // path of the agent
	RepoTool string // path of repo-tool
	Kernel   machine.Kernel
	Server   *Server // serves the folder Repos
	Repos    string

	// Show is told each call of repo-tool before it runs. It may be nil.
	Show func(args []string)

	root string // of this project's source
	base []byte // packed initramfs that all releases begin with
}

// New makes a lab in an existing folder, with the two programs as `make build`
// builds them; agentFlags are more flags of `go build` for the agent.
func New(ctx context.Context, dir string, agentFlags ...string) (*Lab, error) {
	kernel, err := machine.FindKernel()
	if err != nil {
		return nil, err
	}
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	l := &Lab{
		Dir:      dir,
		root:     root,
		Kernel:   kernel,
		Agent:    filepath.Join(dir, "bin", "agent"),
		RepoTool: filepath.Join(dir, "bin", "repo-tool"),
		Repos:    filepath.Join(dir, "repos"),
	}
	for program, flags := range map[string][]string{l.Agent: agentFlags, l.RepoTool: nil} {
		if err := l.build(ctx, program, flags); err != nil {
			return nil, err
		}
	}
	if l.base, err = l.baseInitramfs(); err != nil {
		return nil, err
	}
	l.Server, err = Serve(l.Repos)
	return l, err
}

// Sum returns the SHA-256, in hex, of what releases and disks are made with: the two
// programs, the kernel, and the initramfs that all releases begin with.
func (l *Lab) Sum() (string, error) {
	h := sha256.New()
	h.Write(l.base)
	for _, file := range []string{l.Agent, l.RepoTool, l.Kernel.Image} {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n", filepath.Base(file), len(content))
		h.Write(content)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Close ends the server.
func (l *Lab) Close() { l.Server.Close() }

// gateDefaults set the health gate up for a guest, where a check either passes
// at once or never.
const gateDefaults = "DEADLINE=3\nREBOOT_GRACE=10\n"

func (l *Lab) baseInitramfs() ([]byte, error) {
	tree, err := machine.BaseTree(l.Kernel)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		tree.AddHostFile("usr/sbin/agent", l.Agent, 0o755),
		tree.AddHostFile("etc/init.d/tufboot-gate", l.Source("deploy/init/tufboot-gate"), 0o755))
	if err != nil {
		return nil, err
	}
	tree.AddFile("etc/default/tufboot-gate", []byte(gateDefaults), 0o644)
	packed, err := machine.Zstd(tree.CPIO())
	// Another archive follows; the kernel looks for it at a multiple of four.
	for len(packed)%4 != 0 {
		packed = append(packed, 0)
	}
	return packed, err
}

// Source returns the path of a file of this project.
func (l *Lab) Source(name string) string { return filepath.Join(l.root, filepath.FromSlash(name)) }

func (l *Lab) build(ctx context.Context, program string, flags []string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-tags", "urfave_cli_no_docs",
		"-ldflags", "-s -w -X main.version=e2e", "-o", program}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+filepath.Base(program))...)
	cmd.Dir = l.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", filepath.Base(program), err, out)
	}
	return nil
}

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("go list -m: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// repoTool runs repo-tool and returns what it printed.
func (l *Lab) repoTool(ctx context.Context, args ...string) (string, error) {
	if l.Show != nil {
		l.Show(args)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, l.RepoTool, args...)
	cmd.Dir = l.Dir
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("repo-tool %s: %w\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String(), nil
}
