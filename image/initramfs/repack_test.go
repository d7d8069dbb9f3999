package initramfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// small are options with which the test's tree has many segments.
func small(p Packing) Options { return Options{Packing: p, Segment: 8 << 10} }

// What is packed, the system's own tools read: all of it in one go.
func TestGNU(t *testing.T) {
	files := tree()
	input := write(t, archive(files...))
	for packing, program := range map[Packing]string{Zstd: "zstd", Gzip: "gzip"} {
		t.Run(string(packing), func(t *testing.T) {
			packed, r := repack(t, input, small(packing))
			if r.Segments < 5 || r.Entries != len(files) || r.In != int64(len(archive(files...))) {
				t.Errorf("%+v", r)
			}
			plain := through(t, packed, "", program, "-dc")
			var want []string
			for _, f := range files {
				want = append(want, f.name)
			}
			if got := strings.Fields(string(through(t, plain, "", "cpio", "-t", "--quiet"))); !slices.Equal(got, want) {
				t.Errorf("cpio lists %q", got)
			}
			list := strings.Join(strings.Fields(string(through(t, plain, "", "cpio", "-tv", "--quiet", "--numeric-uid-gid"))), " ")
			for _, line := range []string{"crw------- 1 7 8 5, 1 ", "brw-r----- 1 7 8 7, 0 ", "prw------- 1 7 8 ", "lib -> usr/lib"} {
				if !strings.Contains(list, line) {
					t.Errorf("no %q in what cpio lists:\n%.900s", line, list)
				}
			}
			dir := t.TempDir()
			through(t, plain, dir, "cpio", "-i", "--quiet", "-m", "init", "usr*", "lib")
			for _, f := range files {
				if f.mode == 0 {
					if got := string(read(t, filepath.Join(dir, f.name))); got != f.data {
						t.Errorf("%s: %d bytes, want %d", f.name, len(got), len(f.data))
					}
				}
			}
			if got := string(read(t, filepath.Join(dir, "usr/first"))); got != files[len(files)-1].data {
				t.Errorf("the first name of a file with several has %d bytes", len(got))
			}
			for _, name := range []string{"usr/lib/second", "usr/third"} {
				if !sameFile(t, filepath.Join(dir, "usr/first"), filepath.Join(dir, name)) {
					t.Errorf("%s is not usr/first", name)
				}
			}
			info, err := os.Stat(filepath.Join(dir, "usr/lib/small-07"))
			if err != nil || info.ModTime().Unix() != 1600000007 {
				t.Errorf("the time of a file: %v, %v", info.ModTime(), err)
			}
		})
	}
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	var nodes [2]uint64
	for i, path := range []string{a, b} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		nodes[i] = info.Sys().(*syscall.Stat_t).Ino
	}
	return nodes[0] == nodes[1]
}

// Every member is a frame that unzstd of any version takes by itself, and ends
// where an entry ends.
func TestZstdMembers(t *testing.T) {
	packed, r := repack(t, write(t, archive(tree()...)), small(Zstd))
	members := frames(t, packed)
	if len(members) != r.Segments+1 {
		t.Errorf("%d frames, want %d and the end", len(members), r.Segments)
	}
	for i, m := range members {
		plain := through(t, m, "", "zstd", "-dc", "--memory=8MB")
		c, err := unpackBytes(plain)
		if err != nil || len(c.entries) == 0 && i < len(members)-1 {
			t.Errorf("frame %d: %v", i, err)
		}
	}
}

// frames cuts a file of zstd frames.
func frames(t testing.TB, data []byte) [][]byte {
	t.Helper()
	var all [][]byte
	for len(data) > 0 {
		f := &frame{in: newBuffered(data)}
		n, err := io.Copy(io.Discard, f)
		if err != nil || n == 0 {
			t.Fatalf("frame %d: %d bytes, %v", len(all), n, err)
		}
		all = append(all, data[:n])
		data = data[n:]
	}
	return all
}

// One file that changes, comes or goes changes its own segment, wherever it is
// and though every number of an inode changes.
func TestLocality(t *testing.T) {
	files := tree()
	for i := range files {
		files[i].on = [2]uint32{8, 1}
	}
	was := frameSet(t, files)
	for name, change := range map[string]func(f []file) []file{
		"changed": func(f []file) []file { f[30].data = text("changed", len(f[30].data)); return f },
		"longer":  func(f []file) []file { f[30].data += "more"; return f },
		"newer":   func(f []file) []file { f[30].mtime++; return f },
		"removed": func(f []file) []file { return slices.Delete(f, 30, 31) },
		"added":   func(f []file) []file { return slices.Insert(f, 30, file{name: "usr/lib/new", data: "new"}) },
		"built again": func(f []file) []file {
			for i := range f {
				f[i].inode += 1000
				f[i].on = [2]uint32{259, 3}
			}
			return f
		},
	} {
		t.Run(name, func(t *testing.T) {
			fresh := 0
			for frame := range frameSet(t, change(slices.Clone(files))) {
				if !was[frame] {
					fresh++
				}
			}
			if most := 1; fresh > most || fresh == 0 && name != "built again" || fresh > 0 && name == "built again" {
				t.Errorf("%d segments of %d are new", fresh, len(was))
			}
		})
	}
}

// In the gzip packing too: no segment looks back into the one before.
func TestLocalityGzip(t *testing.T) {
	files := tree()
	was, r := repack(t, write(t, archive(files...)), small(Gzip))
	files[30].data = text("changed", len(files[30].data))
	now, _ := repack(t, write(t, archive(files...)), small(Gzip))
	was, now = was[:len(was)-8], now[:len(now)-8] // without the sum and the length
	before := 0
	for before < min(len(was), len(now)) && was[before] == now[before] {
		before++
	}
	behind := 0
	for behind < min(len(was), len(now))-before && was[len(was)-1-behind] == now[len(now)-1-behind] {
		behind++
	}
	if changed := len(now) - before - behind; changed < 100 || changed > 15_000 || before == 0 || behind == 0 {
		t.Errorf("%d bytes of %d have changed, after %d and before %d; there are %d segments", changed, len(now), before, behind, r.Segments)
	}
}

func frameSet(t *testing.T, files []file) map[string]bool {
	packed, _ := repack(t, write(t, archive(files...)), small(Zstd))
	set := make(map[string]bool)
	for _, f := range frames(t, packed) {
		set[string(f)] = true
	}
	return set
}

// The same input and options give the same bytes: the sums are those of every
// machine. They change with the compressor's version, which costs every node one
// full download, and deserves a line in the notes of the release.
func TestDeterminism(t *testing.T) {
	input := write(t, archive(tree()...))
	for packing, want := range map[Packing]string{
		Zstd: "e3f700e39d5bbb18644293abe0bfe2adae8edf62f1a557bead0a54e79275ec6b",
		Gzip: "52db918213a4d09cbada4e445292169cc14311e4e6087592e65b7dbfcb9c107d",
	} {
		for _, workers := range []int{1, 2, 7} {
			opts := small(packing)
			opts.Workers = workers
			packed, _ := repack(t, input, opts)
			if got := fmt.Sprintf("%x", sha256.Sum256(packed)); got != want {
				t.Errorf("%s, %d workers: %s, want %s", packing, workers, got, want)
			}
		}
	}
}

// All that the kernel unpacks is read, in any mixture, and gives the same.
func TestInputs(t *testing.T) {
	one := archive(file{name: "one", data: text("one", 5000)}, file{name: "same", data: "old"})
	two := archive(file{name: "two", data: "2", links: 2, inode: 5}, file{name: "deux", links: 2, inode: 5}, file{name: "same", data: "new"})
	early := append(archive(file{name: "kernel/x86/microcode/AuthenticAMD.bin", data: text("microcode", 999)}), 0, 0, 0, 0)
	zstd, gzip := through(t, one, "", "zstd"), through(t, one, "", "gzip")
	_, want := repack(t, write(t, one, two), Options{})
	for name, parts := range map[string][][]byte{
		"plain":                  {one, two},
		"zstd, plain":            {zstd, make([]byte, 8-len(zstd)%4), two},
		"gzip, gzip":             {gzip, through(t, two, "", "gzip", "-9")},
		"gzip, zeros, zstd":      {gzip, make([]byte, 4096), through(t, two, "", "zstd", "-19", "--no-check")},
		"one gzip of both":       {through(t, slices.Concat(one, make([]byte, 512), two), "", "gzip")},
		"zstd, xz":               {zstd, through(t, two, "", "xz", "--check=crc32")},
		"plain, bzip2":           {one, through(t, two, "", "bzip2")},
		"gzip, lz4":              {gzip, through(t, two, "", "lz4", "-l")},
		"early, zstd, gzip":      {early, zstd, through(t, two, "", "gzip")},
		"early, plain, zeros":    {early, one, two, make([]byte, 512)},
		"early twice, gzip, lz4": {early, early, gzip, through(t, two, "", "lz4", "-l")},
	} {
		t.Run(name, func(t *testing.T) {
			packed, r := repack(t, write(t, parts...), Options{})
			if r.Contents != want.Contents {
				t.Errorf("the contents are %s, want %s", r.Contents, want.Contents)
			}
			kept := 0
			for strings.HasPrefix(name, "early") && bytes.Equal(parts[kept], early) {
				kept++
			}
			if before := slices.Concat(parts[:kept]...); r.Early != int64(len(before)) || !bytes.HasPrefix(packed, before) {
				t.Errorf("%d bytes are early, want %d", r.Early, len(before))
			}
			again, r2 := repack(t, write(t, packed), Options{})
			if !bytes.Equal(again, packed) || r2.Contents != r.Contents {
				t.Errorf("packing twice gives something else")
			}
		})
	}
}

func TestContents(t *testing.T) {
	base := tree()
	_, want := repack(t, write(t, archive(base...)), Options{})
	for name, change := range map[string]func(f []file){
		"content": func(f []file) { f[9].data = text("other", len(f[9].data)) },
		"name":    func(f []file) { f[9].name = "usr/larger" },
		"mode":    func(f []file) { f[9].mode = 0o100755 },
		"time":    func(f []file) { f[9].mtime++ },
		"device":  func(f []file) { f[2].device[1]++ },
		"link":    func(f []file) { f[8].inode = 99 },
		"order":   func(f []file) { f[2], f[3] = f[3], f[2] },
	} {
		files := slices.Clone(base)
		change(files)
		if _, r := repack(t, write(t, archive(files...)), Options{}); r.Contents == want.Contents {
			t.Errorf("another %s gives the same sum of the contents", name)
		}
	}
	if _, r := repack(t, write(t, archive(base...)), small(Gzip)); r.Contents != want.Contents {
		t.Error("another packing gives another sum of the contents")
	}
}

// Whatever goes wrong, what was there stays, and nothing else is left.
func TestNoHalfFile(t *testing.T) {
	good := write(t, archive(tree()...))
	stopped, stop := context.WithCancel(t.Context())
	stop()
	atStep := func(at string) (context.Context, Options) {
		ctx, stop := context.WithCancel(t.Context())
		opts := small(Zstd)
		opts.Progress = func(step string, _, _ int64) {
			if step == at {
				stop()
			}
		}
		return ctx, opts
	}
	for name, test := range map[string]struct {
		input string
		ctx   context.Context
		opts  Options
		step  string
	}{
		"stopped":             {input: good, ctx: stopped},
		"stopped reading":     {input: good, step: "reading"},
		"stopped compressing": {input: good, step: "compressing"},
		"stopped verifying":   {input: good, step: "verifying"},
		"no input":            {input: good + ".none", ctx: t.Context()},
		"bad input":           {input: write(t, []byte("hello")), ctx: t.Context()},
		"nothing in it":       {input: write(t, archive()), ctx: t.Context()},
		"packing":             {input: good, ctx: t.Context(), opts: Options{Packing: "arj"}},
		"level":               {input: good, ctx: t.Context(), opts: Options{Level: 23}},
		"negative level":      {input: good, ctx: t.Context(), opts: Options{Level: -1}},
		"level of gzip":       {input: good, ctx: t.Context(), opts: Options{Packing: Gzip, Level: 10}},
		"segment":             {input: good, ctx: t.Context(), opts: Options{Segment: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			output := filepath.Join(dir, "packed")
			if err := os.WriteFile(output, []byte("before"), 0o644); err != nil {
				t.Fatal(err)
			}
			if test.step != "" {
				test.ctx, test.opts = atStep(test.step)
			}
			if r, err := Repack(test.ctx, test.input, output, test.opts); err == nil {
				t.Errorf("%+v", r)
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 || string(read(t, output)) != "before" {
				t.Errorf("%v, %v, %q", entries, err, read(t, output))
			}
		})
	}
}

// Each difference between what should be packed and what was is found.
func TestVerify(t *testing.T) {
	early := archive(file{name: "kernel/x86/microcode/x", data: "early"})
	packed, r := repack(t, write(t, early, archive(tree()...)), small(Gzip))
	fresh := func() *packer {
		c, err := unpackBytes(packed)
		if err != nil {
			t.Fatal(err)
		}
		renumber(c.entries)
		return &packer{in: bytes.NewReader(early), contents: c}
	}
	for name, change := range map[string]func(p *packer){
		"":            func(*packer) {},
		"sum":         func(p *packer) { p.contents.entries[4].sum[0]++ },
		"owner":       func(p *packer) { p.contents.entries[4].UID++ },
		"links":       func(p *packer) { p.contents.entries[8].inode++ },
		"one less":    func(p *packer) { p.contents.entries = p.contents.entries[1:] },
		"last one":    func(p *packer) { p.contents.entries = append(p.contents.entries, entry{}) },
		"early":       func(p *packer) { p.in = strings.NewReader(strings.Repeat("x", len(early))) },
		"early place": func(p *packer) { p.contents.early-- },
	} {
		p := fresh()
		change(p)
		if err := p.verify(t.Context(), bytes.NewReader(packed), r); (err == nil) != (name == "") {
			t.Errorf("%q: %v", name, err)
		}
	}
	bad := bytes.Clone(packed)
	bad[len(bad)/2] ^= 1
	if err := fresh().verify(t.Context(), bytes.NewReader(bad), r); !errors.Is(err, ErrFormat) {
		t.Errorf("a flipped bit: %v", err)
	}
}
