package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// benchStart measures how long a check takes from its start to the first byte
// that it sends: program and libraries made ready, configuration read, disk
// found, trusted root verified. A server that never answers takes the time. args
// are those of the agent without its server. The node has checked before: only
// its first check has to keep the root and wait for the disk.
func benchStart(ctx context.Context, agent string, args []string, rounds int) (string, error) {
	state, err := os.MkdirTemp("", "tufboot-bench-start-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(state)
	args = append([]string{"--state-dir", state}, args...)
	if _, err := startOnce(ctx, agent, args, true); err != nil {
		return "", err
	}
	var ready, fresh []time.Duration
	for range rounds * 5 {
		warm, err := startOnce(ctx, agent, args, true)
		if err != nil {
			return "", err
		}
		cold, err := startOnce(ctx, agent, args, false)
		if err != nil {
			return "", err
		}
		ready, fresh = append(ready, warm), append(fresh, cold)
	}
	info, err := os.Stat(agent)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("| agent | from start to first byte | the same, program not in the page cache |\n|---|---|---|\n| %.2f MB | %.1f ms | %.1f ms |\n",
		float64(info.Size())/1e6, ms(middleOf(ready)), ms(middleOf(fresh))), nil
}

// startOnce starts one check. Not cached: the program comes from its disk.
func startOnce(ctx context.Context, agent string, args []string, cached bool) (time.Duration, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	if !cached {
		if err := forget(agent); err != nil {
			return 0, err
		}
	}
	// An agent that fails instead of connecting must not be waited for.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, agent, append([]string{"check", "--server", "http://" + listener.Addr().String()}, args...)...)
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	var ended error
	done := make(chan struct{})
	go func() { ended = cmd.Wait(); close(done); listener.Close() }()
	var first [1]byte
	connection, err := listener.Accept()
	if err != nil {
		<-done
		return 0, fmt.Errorf("%s: the agent ended without a request: %w", cmd, errors.Join(ended, err))
	}
	defer connection.Close()
	if _, err := connection.Read(first[:]); err != nil {
		return 0, fmt.Errorf("%s: read its request: %w", cmd, err)
	}
	took := time.Since(start)
	cancel()
	<-done
	return took, nil
}

// forget takes a file out of the page cache, and looks whether it went.
func forget(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil { // pages that are to be written stay
		return err
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return err
	}
	n, err := cached(f)
	if err == nil && n > 0 {
		err = fmt.Errorf("%s: %d pages stay in the page cache", path, n)
	}
	return err
}

// cached returns how many pages of a file are in the page cache (mincore(2)).
func cached(f *os.File) (pages int, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Munmap(data) }()
	there := make([]byte, (len(data)+blockSize-1)/blockSize)
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)), uintptr(unsafe.Pointer(&there[0])))
	if errno != 0 {
		return 0, fmt.Errorf("%s: mincore: %w", f.Name(), errno)
	}
	for _, b := range there {
		pages += int(b & 1)
	}
	return pages, nil
}

func middleOf(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}
