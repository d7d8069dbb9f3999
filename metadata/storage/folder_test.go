package storage_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tufboot/internal/atomicfile"
	"tufboot/metadata/storage"
)

// writeFolder makes the test program a process that writes a folder until it is
// killed.
const writeFolder = "TUFBOOT_TEST_WRITE_FOLDER"

// writeForEver says what it begins, and does it.
func writeForEver(dir string) {
	s, ctx := storage.NewFolder(dir), context.Background()
	contents := [][]byte{sealed(1), sealed(2), sealed(3)}
	for i := 0; ; i++ {
		data := contents[i%len(contents)]
		const timestamp = "metadata/timestamp.json"
		_, old, err := storage.ReadFile(ctx, s, timestamp, 16<<20)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			fail(err)
		}
		begin(func() error { return s.Replace(ctx, timestamp, data, old) })
		begin(func() error { return s.Create(ctx, fmt.Sprintf("metadata/%d.root.json", i), data) })
		begin(func() error {
			_, _, err := s.Import(ctx, storage.Bytes(data), func(sum string) string { return fmt.Sprint("targets/", i, ".", sum) })
			return err
		})
	}
}

func begin(write func() error) {
	fmt.Println("begins")
	if err := write(); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Println(err)
	os.Exit(1)
}

// sealed is a content that shows whether it is whole.
func sealed(i int) []byte {
	body := bytes.Repeat(fmt.Appendf(nil, "%015d\n", i), 1<<17)
	return fmt.Appendf(body, "%x", sha256.Sum256(body))
}

func isWhole(data []byte) bool {
	const seal = 2 * sha256.Size
	if len(data) < seal {
		return false
	}
	body := data[:len(data)-seal]
	return fmt.Sprintf("%x", sha256.Sum256(body)) == string(data[len(body):])
}

// TestFolderKilled kills a process that writes: whatever it was doing, each
// file is whole, and the next writer removes what is left over.
func TestFolderKilled(t *testing.T) {
	dir := t.TempDir()
	unfinished := 0
	for round := range 20 {
		killWriter(t, dir, round%6+1)
		left := leftOver(t, dir)
		unfinished += len(left)
		s := storage.NewFolder(dir)
		for info, err := range s.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			data, _, err := storage.ReadFile(t.Context(), s, info.Name, 16<<20)
			if err != nil || !isWhole(data) {
				t.Fatalf("%s is not whole (%d bytes, %v)", info.Name, len(data), err)
			}
			if !strings.HasSuffix(info.Name, "timestamp.json") {
				if err := s.Remove(t.Context(), info.Name); err != nil {
					t.Fatal(err)
				}
			}
		}
		unlock, err := s.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		unlock()
		if left := leftOver(t, dir); len(left) > 0 {
			t.Fatalf("left over: %q", left)
		}
	}
	t.Logf("%d of 20 kills came while a file was being written", unfinished)
	if unfinished < 5 {
		t.Error("too few to prove anything")
	}
}

// killWriter kills a writer that begins that write.
func killWriter(t *testing.T, dir string, write int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), writeFolder+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); write > 0 && lines.Scan(); write-- {
		if lines.Text() != "begins" {
			t.Fatal(lines.Text())
		}
	}
	for t.Context().Err() == nil && len(leftOver(t, dir)) == 0 { // until its file is there
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

func leftOver(t *testing.T, dir string) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, storage.WorkDir, atomicfile.TempPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// TestFolderLock: one edit at a time, also within one process.
func TestFolderLock(t *testing.T) {
	dir := t.TempDir()
	s := storage.NewFolder(dir)
	unlock, err := s.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := storage.NewFolder(dir).Lock(t.Context()); !errors.Is(err, storage.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
	// Who holds the lock writes, of course.
	put(t, s, oneName, "one")
	unlock()
	unlock, err = s.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestFolderFull writes as much as the process may: what does not fit leaves
// nothing, and what was there stays. It limits the size of one file in a child.
func TestFolderFull(t *testing.T) {
	dir := t.TempDir()
	s := storage.NewFolder(dir)
	put(t, s, oneName, "old")
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fillFolder+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if got := contents(t, s); got != oneName+"=old" {
		t.Errorf("there is %.100q", got)
	}
	if left := leftOver(t, dir); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

// fillFolder makes the test program one that cannot write more than a little.
const fillFolder = "TUFBOOT_TEST_FILL_FOLDER"

func fill(dir string) {
	const most = 1 << 20
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
		fail(err)
	}
	s, ctx := storage.NewFolder(dir), context.Background()
	_, old, err := storage.ReadFile(ctx, s, oneName, 100)
	if err != nil {
		fail(err)
	}
	data := make([]byte, 2*most)
	_, _, importErr := s.Import(ctx, storage.Bytes(data), func(string) string { return "targets/x" })
	for _, err := range []error{s.Create(ctx, "x.json", data), s.Replace(ctx, oneName, data, old), importErr} {
		if !errors.Is(err, syscall.EFBIG) {
			fail(fmt.Errorf("got %w", err))
		}
	}
	os.Exit(0)
}

// TestFolderOddities: what other programs may put into a folder.
func TestFolderOddities(t *testing.T) {
	dir := t.TempDir()
	s := storage.NewFolder(dir)
	put(t, s, "targets/x", "x")
	for link, target := range map[string]string{"targets/link": "x", "targets/dangling": "y", "targets/folder": "."} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	var names []string
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	if want := []string{"targets/link", "targets/x"}; !slices.Equal(names, want) {
		t.Errorf("listed %q, want %q", names, want)
	}
	for _, name := range []string{"targets", "targets/folder", "fifo"} { // of which the last would be waited for
		_, err := s.Stat(t.Context(), name)
		_, _, openErr := s.Open(t.Context(), name)
		for _, err := range []error{err, openErr} {
			if !errors.Is(err, storage.ErrNotRegular) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	// A link to nowhere is in the way, and is not written through.
	if err := s.Create(t.Context(), "targets/dangling", nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
}
