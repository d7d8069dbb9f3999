package deploy_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const initramfsTool = "../initramfs/tufboot-initramfs"

// rootJSON has the one thing that the tool looks for.
const rootJSON = `{"signatures":[],"signed":{"_type":"root","version":1}}`

// baseEntries are those of an initramfs as distributions make them, where /bin
// and /sbin are symbolic links.
var baseEntries = []entry{
	{name: "usr", mode: typeDir | 0o755},
	{name: "usr/bin", mode: typeDir | 0o755},
	{name: "bin", mode: typeLink | 0o777, data: "usr/bin"},
	{name: "usr/sbin", mode: typeLink | 0o777, data: "bin"},
	{name: "usr/bin/tool", mode: typeFile | 0o755, data: "TOOL"},
	{name: "etc", mode: typeDir | 0o755},
	{name: "etc/hostname", mode: typeFile | 0o644, data: "base\n"},
}

// parts is a folder with everything that the tool puts in.
func parts(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "agent"), "AGENT", 0o600)
	write(t, filepath.Join(dir, "root.json"), rootJSON, 0o600)
	write(t, filepath.Join(dir, "agent.yaml"), "server: http://x\n", 0o664)
	write(t, filepath.Join(dir, "health/required.d/10-a"), "#!/bin/sh\n", 0o700)
	write(t, filepath.Join(dir, "health/required.d/20-b"), "#!/bin/sh\n", 0o600)
	write(t, filepath.Join(dir, "health/wanted.d/w w"), "#!/bin/sh\n", 0o777)
	write(t, filepath.Join(dir, "ca.pem"), "CA", 0o600)
	return dir
}

// tool runs the tool in dir and returns its exit code and what it printed.
func tool(t *testing.T, dir string, args ...string) (int, string) {
	t.Helper()
	needTool(t, "cpio", "cpio")
	cmd := exec.Command(abs(t, initramfsTool), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return exitCode(t, err), string(out)
}

func mustTool(t *testing.T, dir string, args ...string) string {
	t.Helper()
	code, out := tool(t, dir, args...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	return out
}

// appended returns the segment that the tool put behind base, after checking
// that base is untouched and the segment starts where the kernel looks for it.
func appended(t *testing.T, kind string, base, out []byte) []entry {
	t.Helper()
	start := (len(base) + 3) / 4 * 4
	if !bytes.HasPrefix(out, base) || len(bytes.Trim(out[len(base):start], "\x00")) != 0 {
		t.Fatal("the initramfs was changed, or the padding is not zero")
	}
	if len(out)%4 != 0 {
		t.Errorf("%d bytes: not a multiple of 4", len(out))
	}
	return unpack(t, expand(t, kind, out[start:]))
}

func TestInitramfsInEveryFormat(t *testing.T) {
	want := []string{
		"40755 etc/", "40755 etc/ssl/", "40755 etc/ssl/certs/", "100644 etc/ssl/certs/ca-certificates.crt=CA",
		"40755 etc/tufboot/", "100644 etc/tufboot/agent.yaml=server: http://x\n",
		"40755 etc/tufboot/health/", "40755 etc/tufboot/health/required.d/",
		"100755 etc/tufboot/health/required.d/10-a=#!/bin/sh\n", "100644 etc/tufboot/health/required.d/20-b=#!/bin/sh\n",
		"40755 etc/tufboot/health/wanted.d/", "100755 etc/tufboot/health/wanted.d/w w=#!/bin/sh\n",
		"100644 etc/tufboot/root.json=" + rootJSON,
		"40755 usr/", "40755 usr/sbin/", "100755 usr/sbin/agent=AGENT",
	}
	for _, from := range []string{"cpio", "gzip", "zstd"} {
		for _, to := range []string{"", "cpio", "gzip", "zstd"} {
			t.Run(from+" and "+to, func(t *testing.T) {
				dir := parts(t)
				base := squeeze(t, from, pack(baseEntries))
				write(t, filepath.Join(dir, "base"), string(base), 0o644)
				args := []string{"--agent", "agent", "--root", "root.json", "--config=agent.yaml", "--checks", "health", "--ca", "ca.pem", "-o", "out", "base"}
				kind := from
				if to != "" {
					kind, args = to, append(args, "--compress", to)
				}
				said := mustTool(t, dir, args...)
				if strings.Count(said, "\n") != 1 || !strings.Contains(said, "20-b is not executable and will count as failed") {
					t.Errorf("it said %q", said)
				}
				var got []string
				for _, e := range appended(t, kind, base, []byte(read(t, filepath.Join(dir, "out")))) {
					line := fmt.Sprintf("%o %s", e.mode, e.name)
					if e.mode&typeFile == typeFile {
						line += "=" + e.data
					}
					got = append(got, line)
					if e.uid != 0 || e.gid != 0 || e.mtime != 0 {
						t.Errorf("%s: owner %d:%d, time %d", e.name, e.uid, e.gid, e.mtime)
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				if info, err := os.Stat(filepath.Join(dir, "out")); err != nil || info.Mode() != 0o644 {
					t.Errorf("%v, %v", info.Mode(), err)
				}
			})
		}
	}
}

// The same files give the same bits: in another folder, at another time, of
// other owners and inode numbers, and whatever the umask is.
func TestInitramfsIsDeterministic(t *testing.T) {
	for _, kind := range []string{"cpio", "gzip", "zstd"} {
		var first string
		for i := range 2 {
			dir := parts(t)
			write(t, filepath.Join(dir, "base"), string(pack(baseEntries)), 0o644)
			if i == 1 {
				write(t, filepath.Join(dir, "health/required.d/30"), "", 0o600) // another order of inodes
				for _, name := range []string{"health/required.d/10-a", "agent"} {
					data := read(t, filepath.Join(dir, name))
					if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, "was")); err != nil {
						t.Fatal(err)
					}
					write(t, filepath.Join(dir, name), data, 0o711)
				}
				if err := os.Remove(filepath.Join(dir, "health/required.d/30")); err != nil {
					t.Fatal(err)
				}
				old := time.Unix(1e9, 0)
				if err := os.Chtimes(filepath.Join(dir, "agent"), old, old); err != nil {
					t.Fatal(err)
				}
			}
			write(t, filepath.Join(dir, "tool"), read(t, initramfsTool), 0o755)
			umask := []string{"022", "077"}[i]
			cmd := exec.Command("sh", "-c", "umask "+umask+"; exec \"$0\" \"$@\"", "./tool",
				"--agent", "agent", "--root", "root.json", "--config", "agent.yaml", "--checks", "health", "--compress", kind, "-o", "out", "base")
			cmd.Dir = dir
			if i == 1 && os.Geteuid() == 0 { // somebody else's files, packed by somebody else
				output(t, "chown", "-R", "1234:1234", dir)
				output(t, "chmod", "a+x", dir, filepath.Dir(dir))
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 1234}}
			}
			cmd.Env = append(os.Environ(), "LC_ALL="+[]string{"C", "C.UTF-8"}[i], "TZ="+[]string{"UTC", "Asia/Tokyo"}[i])
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			got := read(t, filepath.Join(dir, "out"))
			if i == 0 {
				first = got
			} else if got != first {
				t.Errorf("%s: two runs differ", kind)
			}
		}
	}
}

func TestInitramfsOptions(t *testing.T) {
	dir := parts(t)
	base := pack(baseEntries)
	write(t, filepath.Join(dir, "base"), string(base), 0o644)
	mustTool(t, dir, "--agent", "agent", "--root", "root.json", "--config", "agent.yaml", "--agent-path", "/opt/tufboot/agent",
		"--gate", abs(t, gateScript), "-o", "base", "base") // in place
	var names []string
	for _, e := range appended(t, "cpio", base, []byte(read(t, filepath.Join(dir, "base")))) {
		if e.mode&typeFile == typeFile {
			names = append(names, fmt.Sprintf("%o %s", e.mode&0o777, e.name))
		}
	}
	want := []string{"755 etc/init.d/tufboot-gate", "644 etc/tufboot/agent.yaml", "644 etc/tufboot/root.json", "755 opt/tufboot/agent"}
	if !slices.Equal(names, want) {
		t.Errorf("got %q", names)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "base.*")); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestInitramfsHelp(t *testing.T) {
	for _, flag := range []string{"-h", "--help"} {
		code, out := tool(t, "/", flag)
		if code != 0 || !strings.Contains(out, "Examples:") {
			t.Errorf("%s: %d, %s", flag, code, out)
		}
	}
}

func TestInitramfsErrors(t *testing.T) {
	dir := parts(t)
	write(t, filepath.Join(dir, "base"), string(pack(baseEntries)), 0o644)
	write(t, filepath.Join(dir, "base.xz"), string(squeeze(t, "xz", pack(baseEntries))), 0o644)
	write(t, filepath.Join(dir, "empty"), "", 0o644)
	write(t, filepath.Join(dir, "text"), "not an initramfs", 0o644)
	write(t, filepath.Join(dir, "targets.json"), `{"signed":{"_type":"targets"}}`, 0o644)
	if err := os.MkdirAll(filepath.Join(dir, "nochecks/required.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	good := map[string]string{"--agent": "agent", "--root": "root.json", "--config": "agent.yaml", "-o": "out"}
	for _, tt := range []struct {
		name string
		set  map[string]string // "-": left out
		base []string
		code int
		want string
	}{
		{"no agent", map[string]string{"--agent": "-"}, []string{"base"}, 2, "--agent is missing"},
		{"no root", map[string]string{"--root": "-"}, []string{"base"}, 2, "--root is missing"},
		{"no output", map[string]string{"-o": "-"}, []string{"base"}, 2, "--output is missing"},
		{"no initramfs", nil, nil, 2, "INITRAMFS is missing"},
		{"two of them", nil, []string{"base", "base"}, 2, "more than one initramfs"},
		{"unknown option", map[string]string{"--frob": "x"}, []string{"base"}, 2, "unknown option --frob"},
		{"option without value", nil, []string{"base", "--ca"}, 2, "--ca wants a value"},
		{"unknown format", map[string]string{"--compress": "lzma"}, []string{"base"}, 2, "--compress lzma: use cpio, gzip or zstd"},
		{"agent path relative", map[string]string{"--agent-path": "sbin/agent"}, []string{"base"}, 2, "not an absolute path"},
		{"agent path climbs", map[string]string{"--agent-path": "/../agent"}, []string{"base"}, 2, "not a plain absolute path"},
		{"xz without --compress", nil, []string{"base.xz"}, 2, "choose the new segment's format"},
		{"agent missing", map[string]string{"--agent": "none"}, []string{"base"}, 1, "--agent none: there is no such file"},
		{"agent empty", map[string]string{"--agent": "empty"}, []string{"base"}, 1, "the file is empty"},
		{"agent is a folder", map[string]string{"--agent": "health"}, []string{"base"}, 1, "no such file"},
		{"initramfs missing", nil, []string{"none"}, 1, "INITRAMFS none: there is no such file"},
		{"not an initramfs", nil, []string{"text"}, 1, "is it an initramfs?"},
		{"root is something else", map[string]string{"--root": "targets.json"}, []string{"base"}, 1, "this is not TUF root metadata"},
		{"checks missing", map[string]string{"--checks": "none"}, []string{"base"}, 1, "no such folder"},
		{"no checks in it", map[string]string{"--checks": "nochecks"}, []string{"base"}, 1, "no files in required.d or wanted.d"},
		{"output folder missing", map[string]string{"-o": "none/out"}, []string{"base"}, 1, "cannot write to the folder of none/out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var args []string
			set := map[string]string{}
			for _, m := range []map[string]string{good, tt.set} {
				for k, v := range m {
					set[k] = v
				}
			}
			for k, v := range set {
				if v != "-" {
					args = append(args, k, v)
				}
			}
			code, out := tool(t, dir, append(args, tt.base...)...)
			if code != tt.code || !strings.Contains(out, tt.want) {
				t.Errorf("exit code %d, %q; want %d, %q", code, out, tt.code, tt.want)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "out*")); len(left) != 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// A tool that fails half way leaves neither a partial result nor its working
// folder, and the old result stays.
func TestInitramfsIsWrittenWholeOrNotAtAll(t *testing.T) {
	for _, broken := range []string{"cpio", "zstd", "sync", "mv", "cat"} {
		dir := parts(t)
		write(t, filepath.Join(dir, "base"), string(pack(baseEntries)), 0o644)
		write(t, filepath.Join(dir, "out"), "old", 0o644)
		write(t, filepath.Join(dir, "bin", broken), "#!/bin/sh\n[ \"$1\" = --version ] && echo GNU && exit\nexit 9\n", 0o755)
		if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(abs(t, initramfsTool), "--agent", "agent", "--root", "root.json", "--config", "agent.yaml", "--compress", "zstd", "-o", "out", "base")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"), "TMPDIR="+filepath.Join(dir, "tmp"))
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("%s: no error: %s", broken, out)
		}
		if read(t, filepath.Join(dir, "out")) != "old" {
			t.Errorf("%s: the old result is gone", broken)
		}
		for _, pattern := range []string{"out.*", "tmp/*"} {
			if left, _ := filepath.Glob(filepath.Join(dir, pattern)); len(left) != 0 {
				t.Errorf("%s: left behind: %q", broken, left)
			}
		}
	}
}
