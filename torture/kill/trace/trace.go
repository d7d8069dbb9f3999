//go:build linux && amd64

package trace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Point is where a program is killed: at the Nth call that changes something, from 1;
// before it has an effect, or when it has had it. The zero Point is nowhere.
type Point struct {
	N     int
	After bool
}

func (p Point) String() string {
	return fmt.Sprintf("%d:%s", p.N, map[bool]string{false: "before", true: "after"}[p.After])
}

// Call is a call that changes something.
type Call struct {
	Name string
	Args string // for people; a descriptor is followed by what it is of
	File string // what the first descriptor is of, or the first path; "" if there is neither
}

func (c Call) String() string { return c.Name + "(" + c.Args + ")" }

// Result is what came of a run.
type Result struct {
	Killed bool   // at the Point; else it ended by itself
	Code   int    // its exit code, if it ended by itself
	Calls  []Call // those that it made, in the order in which they began
	// Done are those of Calls that had an effect: all, or all but the last.
	Done           []Call
	Stdout, Stderr []byte
}

// Run runs a program to its end, and kills it at a Point. argv[0] is executed; it must
// install Filter(true) on itself and execute what is meant: what that one calls counts,
// and not what its own children do. When Run returns, all of them are gone.
//
// The caller's goroutine must be locked to its thread, and was when the thread got its
// other children: they would be waited for too.
//
// An error says that the run proves nothing, for example since the program made a call
// of which this package does not know what it does.
func Run(argv []string, at Point) (r Result, err error) {
	var outputs [2]output
	files := []*os.File{nil}
	for i := range outputs {
		w, err := outputs[i].open()
		if err != nil {
			return r, err
		}
		defer w.Close()
		files = append(files, w)
	}
	p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{Files: files, Sys: &syscall.SysProcAttr{Ptrace: true}})
	if err != nil {
		return r, err
	}
	t := &tracer{pid: p.Pid, at: at, known: changing(), threads: map[int]*thread{}, mounts: map[uint64]bool{}}
	defer p.Release() //nolint:errcheck // wait has reaped it
	err = t.run()
	for _, w := range files[1:] {
		w.Close()
	}
	r = Result{Killed: t.killed, Code: t.status.ExitStatus(), Calls: t.calls, Done: t.calls}
	if t.killed && !at.After {
		r.Done = t.calls[:at.N-1]
	}
	r.Stdout, r.Stderr = outputs[0].all(), outputs[1].all()
	if err == nil && !t.killed && !t.status.Exited() {
		err = fmt.Errorf("it was ended by %v", t.status.Signal())
	}
	return r, err
}

// output collects what a process prints.
type output struct {
	done sync.WaitGroup
	buf  bytes.Buffer
}

func (o *output) open() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o.done.Go(func() {
		_, _ = io.Copy(&o.buf, r)
		r.Close()
	})
	return w, nil
}

func (o *output) all() []byte {
	o.done.Wait()
	return o.buf.Bytes()
}

// tracer follows one run.
type tracer struct {
	pid     int
	at      Point
	known   map[uint64]call
	threads map[int]*thread
	mounts  map[uint64]bool // descriptors of mounts
	started bool            // what is meant has been executed
	killed  bool
	status  syscall.WaitStatus
	calls   []Call
	wrong   error
}

// thread is a thread of the program or of a child of it.
type thread struct {
	counts bool                // it is the program's own
	exits  func(result uint64) // what to do at the exit of the call that it is in
}

const (
	options = unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC |
		unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_EXITKILL
	syscallStop = unix.SIGTRAP | 0x80
	// waitMine waits for threads too, and not for what other threads of this process
	// have started.
	waitMine = unix.WALL | unix.WNOTHREAD
)

func (t *tracer) run() error {
	for {
		var status syscall.WaitStatus
		tid, err := syscall.Wait4(-1, &status, waitMine, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return t.wrong
		case err != nil:
			return fmt.Errorf("wait: %w", err)
		}
		if !status.Stopped() {
			delete(t.threads, tid)
			if tid == t.pid {
				t.status = status
			}
			continue
		}
		// A process that was killed is gone at any moment: that is no failure.
		if err := t.stopped(tid, status); err != nil && !errors.Is(err, unix.ESRCH) {
			t.fail(err)
		}
	}
}

// fail ends the run: it proves nothing.
func (t *tracer) fail(err error) {
	if t.wrong == nil {
		t.wrong = err
	}
	_ = unix.Kill(t.pid, unix.SIGKILL)
}

// stopped lets a thread go on.
func (t *tracer) stopped(tid int, status syscall.WaitStatus) error {
	th := t.threads[tid]
	signal := int(status.StopSignal())
	if th == nil {
		return t.appeared(tid, signal)
	}
	switch {
	case signal == int(syscallStop):
		var regs syscall.PtraceRegs
		if err := syscall.PtraceGetRegs(tid, &regs); err != nil {
			return err
		}
		th.exits(regs.Rax)
		if t.killed {
			return nil
		}
		return syscall.PtraceCont(tid, 0)
	case signal == int(unix.SIGTRAP) && status.TrapCause() == unix.PTRACE_EVENT_SECCOMP:
		return t.asked(tid, th)
	case signal == int(unix.SIGTRAP) && status.TrapCause() == unix.PTRACE_EVENT_EXEC:
		t.started = t.started || tid == t.pid
		return syscall.PtraceCont(tid, 0)
	case signal == int(unix.SIGTRAP) && status.TrapCause() > 0:
		return syscall.PtraceCont(tid, 0)
	}
	return syscall.PtraceCont(tid, signal)
}

// appeared takes a new thread or process in.
func (t *tracer) appeared(tid, signal int) error {
	group, err := groupOf(tid)
	if err != nil {
		return err
	}
	t.threads[tid] = &thread{counts: group == t.pid}
	if tid == t.pid { // stopped by its first exec
		if err := syscall.PtraceSetOptions(tid, options); err != nil {
			return fmt.Errorf("options: %w", err)
		}
		signal = 0
	}
	if signal == int(unix.SIGSTOP) || signal == int(unix.SIGTRAP) {
		signal = 0
	}
	return syscall.PtraceCont(tid, signal)
}

// asked is told of a call before it has an effect.
func (t *tracer) asked(tid int, th *thread) error {
	if !th.counts || !t.started || t.killed {
		return syscall.PtraceCont(tid, 0)
	}
	var regs syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	known, ok := t.known[regs.Orig_rax]
	if !ok {
		return fmt.Errorf("system call %d is neither known to change something nor to be harmless", regs.Orig_rax)
	}
	if known.kind == never {
		return fmt.Errorf("%s was called: what it does cannot be seen", known.name)
	}
	v := view{tid: tid, args: [6]uint64{regs.Rdi, regs.Rsi, regs.Rdx, regs.R10, regs.R8, regs.R9}}
	if !t.changes(known, v) {
		return syscall.PtraceCont(tid, 0)
	}
	t.calls = append(t.calls, v.describe(known))
	now := t.at.N == len(t.calls)
	if now && !t.at.After {
		return t.kill()
	}
	if !now && known.name != "fsmount" {
		return syscall.PtraceCont(tid, 0)
	}
	th.exits = func(result uint64) {
		if known.name == "fsmount" && int64(result) >= 0 {
			t.mounts[result] = true
		}
		if now {
			if err := t.kill(); err != nil {
				t.fail(err)
			}
		}
	}
	return syscall.PtraceSyscall(tid, 0)
}

func (t *tracer) kill() error {
	t.killed = true
	return unix.Kill(t.pid, unix.SIGKILL)
}

// changes reports whether a call changes something that outlives the process.
func (t *tracer) changes(c call, v view) bool {
	switch c.kind {
	case onFile:
		// What it prints is for people.
		return v.args[0] != 1 && v.args[0] != 2 && v.onDisk(v.args[0])
	case opening:
		flags := v.args[2]
		if c.name == "open" {
			flags = v.args[1]
		}
		return flags&openFlags != 0
	case closing:
		mounted := t.mounts[v.args[0]]
		delete(t.mounts, v.args[0])
		return mounted
	}
	return true
}
