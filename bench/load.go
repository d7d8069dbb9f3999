package main

import (
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// worker is one kind of a node's real work: an operation that is done again and
// again, and how long each took.
type worker struct {
	name  string
	pause time.Duration // between two
	do    func() error
	close func() error

	took []sample
	err  error
}

// sample is one operation.
type sample struct {
	end  time.Time
	took time.Duration
}

// load is workers at work.
type load struct {
	workers []*worker
	stopped chan struct{}
	running sync.WaitGroup
}

func startLoad(workers ...*worker) *load {
	l := &load{workers: workers, stopped: make(chan struct{})}
	for _, w := range workers {
		l.running.Go(func() {
			runtime.LockOSThread() // the kernel's schedulers see threads
			defer runtime.UnlockOSThread()
			for w.err == nil {
				select {
				case <-l.stopped:
					return
				default:
				}
				start := time.Now()
				w.err = w.do()
				end := time.Now()
				w.took = append(w.took, sample{end, end.Sub(start)})
				time.Sleep(w.pause)
			}
		})
	}
	return l
}

// stop ends the work. It returns the first error of it.
func (l *load) stop() error {
	close(l.stopped)
	l.running.Wait()
	var errs []error
	for _, w := range l.workers {
		errs = append(errs, w.err)
		if w.close != nil {
			errs = append(errs, w.close())
		}
	}
	return errors.Join(errs...)
}

// within returns how long each operation took that ended between two moments, by
// the workers' names.
func (l *load) within(start, end time.Time) map[string][]time.Duration {
	found := make(map[string][]time.Duration)
	for _, w := range l.workers {
		for _, s := range w.took {
			if s.end.After(start) && s.end.Before(end) {
				found[w.name] = append(found[w.name], s.took)
			}
		}
	}
	return found
}

// quantile returns the value that a part of all do not exceed.
func quantile(all []time.Duration, part float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(int(float64(len(all))*part), len(all)-1)]
}

// The names of workers.
const (
	syncedWrites = "write + fdatasync"
	randomReads  = "read"
	hashing      = "hash"
)

const (
	blockSize = 4096
	logSize   = 64 * mb
	// thinkTime keeps the work from being a load that fills the disk by itself.
	thinkTime = time.Millisecond
)

// newDiskWorkers make a file in dir each. One writes 4 KiB into it and waits for
// the disk, as etcd does with its log; the other reads 4 KiB anywhere in it, from
// the disk.
func newDiskWorkers(dir string) ([]*worker, error) {
	writer, err := openLoad(filepath.Join(dir, "log"), 0)
	if err != nil {
		return nil, err
	}
	reader, err := openLoad(filepath.Join(dir, "data"), unix.O_DIRECT)
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	block := make([]byte, blockSize)
	var at int64
	write := func() error {
		_, err := writer.WriteAt(block, at)
		at = (at + blockSize) % (logSize / blockSize * blockSize)
		return errors.Join(err, unix.Fdatasync(int(writer.Fd())))
	}
	buffer := aligned(blockSize)
	read := func() error {
		_, err := reader.ReadAt(buffer, rand.Int64N(logSize/blockSize)*blockSize) //nolint:gosec // no secret
		return err
	}
	return []*worker{
		{name: syncedWrites, pause: thinkTime, do: write, close: writer.Close},
		{name: randomReads, pause: thinkTime, do: read, close: reader.Close},
	}, nil
}

// openLoad makes a file with all its blocks on the disk, and opens it.
func openLoad(path string, flags int) (*os.File, error) {
	if err := random(path, logSize, 1); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|flags, 0)
	if err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// aligned returns memory as O_DIRECT wants it.
func aligned(size int) []byte {
	raw := make([]byte, size+blockSize)
	at := uintptr(unsafe.Pointer(unsafe.SliceData(raw))) % blockSize
	return raw[blockSize-at:][:size:size]
}

// newProcessorWorkers keep every processor busy with hashing 256 KiB at a time.
func newProcessorWorkers() (all []*worker) {
	for range runtime.NumCPU() {
		data := make([]byte, 256<<10)
		all = append(all, &worker{name: hashing, do: func() error {
			sum := sha256.Sum256(data)
			copy(data, sum[:])
			return nil
		}})
	}
	return all
}
