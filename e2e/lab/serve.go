package lab

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
)

// GuestHost is this host as guests see it, in QEMU's user network.
const GuestHost = "10.0.2.2"

// Serve hands the repository out with `repo-tool serve`, until the returned
// function is called. Releases made from now on follow it there.
func (r *Repo) Serve(ctx context.Context) (stop func(), err error) {
	args := []string{"serve", "--repo", r.Dir, "--listen", "127.0.0.1:0"}
	if r.lab.Show != nil {
		r.lab.Show(args)
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, r.lab.RepoTool, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	stop = func() {
		cancel()
		_ = cmd.Wait() // it was killed
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		stop()
		return nil, fmt.Errorf("repo-tool serve: %w\n%s", err, &stderr)
	}
	address, err := url.Parse(strings.TrimSpace(line))
	if err != nil {
		stop()
		return nil, fmt.Errorf("repo-tool serve printed no address: %w", err)
	}
	r.Server = "http://" + GuestHost + ":" + address.Port()
	return stop, nil
}
