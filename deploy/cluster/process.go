package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Process is one of the cluster's programs. It can be stopped and started again,
// as often as a test wants.
type Process struct {
	Name string
	Log  string // the file that its output is added to
	args []string
	cmd  *exec.Cmd
	gone chan struct{} // closed when the program has ended
	why  error         // then: how
}

func newProcess(name, program string, args ...string) *Process {
	return &Process{Name: name, Log: "/var/log/" + name + ".log", args: append([]string{program}, args...)}
}

// Start runs the program. It is an error if it runs already.
func (p *Process) Start() error {
	if p.cmd != nil {
		return fmt.Errorf("%s runs already", p.Name)
	}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.args[0], p.args[1:]...) //nolint:noctx // Stop ends it
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	p.cmd, p.gone = cmd, make(chan struct{})
	go func() {
		p.why = cmd.Wait()
		close(p.gone)
	}()
	return nil
}

// patience is how long a process may take to end after SIGTERM.
const patience = 5 * time.Second

// Stop ends the program by its process id, and returns when it is gone.
func (p *Process) Stop() error {
	if p.cmd == nil {
		return fmt.Errorf("%s does not run", p.Name)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.gone:
	case <-time.After(patience):
		if err := p.cmd.Process.Kill(); err != nil {
			return err
		}
		<-p.gone
	}
	p.cmd = nil
	return nil
}

// ended returns why the process is not running any more, or nil.
func (p *Process) ended() error {
	if p.cmd == nil {
		return fmt.Errorf("%s does not run", p.Name)
	}
	select {
	case <-p.gone:
		return fmt.Errorf("%s has ended: %w", p.Name, p.why)
	default:
		return nil
	}
}
