// Command bare does the least that an update can do: it downloads files, hashes
// them, writes them past the page cache, reads everything back past the page
// cache, and hashes that too, all at once. It knows no TUF and no resuming; it
// is the yardstick for those that do.
//
//	bare URL SHA256 FILE [URL SHA256 FILE ...]
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	blockSize = 1 << 20
	alignment = 4096
	inFlight  = 4 // blocks between two stages
)

func main() {
	args := os.Args[1:]
	for ; len(args) >= 3; args = args[3:] {
		if err := update(context.Background(), args[0], args[1], args[2]); err != nil {
			fmt.Fprintf(os.Stderr, "bare: %s: %v\n", args[0], err)
			os.Exit(1)
		}
	}
}

func update(ctx context.Context, url, digest, path string) error {
	want, err := hex.DecodeString(digest)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC|unix.O_DIRECT, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	received, readBack := sha256.New(), sha256.New()
	if err := pipeline(resp.Body, out, received, readBack); err != nil {
		return err
	}
	if !bytes.Equal(received.Sum(nil), want) || !bytes.Equal(readBack.Sum(nil), want) {
		return errors.New("the hash is another one")
	}
	return errors.Join(out.Sync(), out.Close())
}

// block is part of the file; done counts those who still use it.
type block struct {
	data   []byte // whole buffer
	length int
	done   sync.WaitGroup
}

// pipeline moves blocks from the network to the hash and the disk, and behind
// that from the disk to the other hash.
func pipeline(in io.Reader, out *os.File, received, readBack hash.Hash) error {
	free, hashing, writing := make(chan *block, inFlight), make(chan *block, inFlight), make(chan *block, inFlight)
	lengths := make(chan int, 1<<20) // of what was written; more than a disk can hold
	for range inFlight {
		free <- &block{data: aligned(blockSize)}
	}
	var stages sync.WaitGroup
	var failed [4]error
	stages.Go(func() { failed[0] = download(in, free, hashing, writing) })
	stages.Go(func() {
		for b := range hashing {
			received.Write(b.data[:b.length])
			b.done.Done()
		}
	})
	stages.Go(func() {
		defer close(lengths)
		failed[1] = store(out, writing, lengths)
	})
	stages.Go(func() { failed[2] = verify(out, lengths, readBack) })
	stages.Wait()
	return errors.Join(failed[:]...)
}

func download(in io.Reader, free, hashing, writing chan *block) error {
	defer close(hashing)
	defer close(writing)
	for {
		b := <-free
		n, err := io.ReadFull(in, b.data)
		if n > 0 {
			b.length = n
			b.done.Add(2)
			hashing <- b
			writing <- b
			go func() { b.done.Wait(); free <- b }()
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// store writes whole sectors and cuts the file to its length at the end.
func store(out *os.File, writing chan *block, lengths chan<- int) (err error) {
	var size int64
	for b := range writing {
		if err == nil {
			_, err = out.WriteAt(b.data[:(b.length+alignment-1)/alignment*alignment], size)
		}
		if err == nil {
			size += int64(b.length)
			lengths <- b.length
		}
		b.done.Done()
	}
	if err != nil {
		return err
	}
	return out.Truncate(size)
}

func verify(out *os.File, lengths <-chan int, readBack hash.Hash) error {
	buffer := aligned(blockSize)
	var at int64
	for n := range lengths {
		if m, err := out.ReadAt(buffer, at); m < n {
			return fmt.Errorf("read back %d of %d bytes: %w", m, n, err)
		}
		readBack.Write(buffer[:n])
		at += int64(n)
	}
	return nil
}

// aligned returns memory as O_DIRECT wants it.
func aligned(size int) []byte {
	buffer := make([]byte, size+alignment)
	shift := alignment - int(uintptr(unsafe.Pointer(&buffer[0]))%alignment)
	return buffer[shift : shift+size]
}
