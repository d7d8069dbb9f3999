package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// stageVariable says what a process of Isolate is there for.
const (
	stageVariable = "TUFBOOT_CLUSTER_STAGE"
	dirVariable   = "TUFBOOT_CLUSTER_DIR"
	stageInit     = "init"
	stageWork     = "work"
)

// Dir is the folder that everything of the cluster is kept in. It is known only
// within Isolate.
func Dir() string { return os.Getenv(dirVariable) }

// Isolate runs this very program again in namespaces of its own, and there work.
// It returns the exit code of work and leaves nothing behind, however work ended.
// Prepare runs before, outside, where there is a network to the world; what it puts
// into the folder is there for work.
//
// It needs root.
func Isolate(prepare func(dir string) error, work func() int) int {
	var code int
	var err error
	switch os.Getenv(stageVariable) {
	case stageInit:
		code, err = beInit(Dir())
	case stageWork:
		return work()
	default:
		code, err = outside(prepare)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// outside makes the folder, runs the rest in new namespaces and cleans up.
func outside(prepare func(dir string) error) (code int, err error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("a cluster needs root: namespaces, mounts, loop devices and control groups")
	}
	dir, err := os.MkdirTemp("", "tufboot-cluster-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, cleanUp(dir)) }()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if err := prepare(dir); err != nil {
		return 1, err
	}
	if err := makeCgroups(cgroupName(dir)); err != nil {
		return 1, err
	}
	cmd := again(stageInit, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	runtime.LockOSThread() // Pdeathsig is about the thread, not the process
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("new namespaces: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-stop:
		_ = cmd.Process.Kill() // process 1 of the namespace: all others go with it
		err = <-ended
	}
	return exitCode(err)
}

// again is this program with the same arguments, for another stage.
func again(stage, dir string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:noctx // a signal to the outer process ends it
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageVariable+"="+stage, dirVariable+"="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd
}

func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if exit.ExitCode() < 0 {
			return 1, err
		}
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// beInit is process 1 of the namespaces. It lays them out, starts the work, and
// buries what is orphaned meanwhile, such as containerd's shims.
func beInit(dir string) (int, error) {
	if err := layOut(dir); err != nil {
		return 1, err
	}
	cmd := again(stageWork, dir)
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR) || err == nil && pid != cmd.Process.Pid:
			continue
		case err != nil:
			return 1, fmt.Errorf("wait for the work: %w", err)
		case status.Exited():
			return status.ExitStatus(), nil
		}
		return 1, fmt.Errorf("the work ended by signal %v", status.Signal())
	}
}

// cleanUp removes what outlives the namespaces: loop devices over files in dir,
// control groups, and dir itself.
func cleanUp(dir string) error {
	return errors.Join(detachLoops(dir), removeCgroups(cgroupName(dir)), os.RemoveAll(dir))
}

func detachLoops(dir string) error {
	out, err := tool{}.run("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		device, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(strings.TrimSpace(file), dir+string(filepath.Separator)) {
			_, _ = tool{}.run("partx", "--delete", device) // it may have no partitions
			if _, err := (tool{}).run("losetup", "--detach", device); err != nil {
				return err
			}
		}
	}
	return nil
}
