package metadata

import (
	"bytes"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// sum is the form of a SHA-256.
var sum = strings.Repeat("0123456789abcdef", 4)

func validRelease() *Release {
	return &Release{
		Schema: 1, Version: "1.0.0", Arch: "amd64",
		Kernel:    Artifact{Target: "releases/1.0.0/amd64/vmlinuz", Length: 10, SHA256: sum},
		Initramfs: Artifact{Target: "releases/1.0.0/amd64/initramfs", Length: 20, SHA256: sum},
		Cmdline:   "console=ttyS0 quiet",
		Notes:     "<notes> & \"more\"\n",
	}
}

// chunkedRelease has chunk maps, as large as they can be.
func chunkedRelease() *Release {
	r := validRelease()
	r.Kernel.Length, r.Initramfs.Length = 10<<20, 20<<20
	r.KernelChunks = &Artifact{Target: "releases/1.0.0/amd64/vmlinuz.chunks", Length: MaxChunkMap(10 << 20), SHA256: sum}
	r.InitramfsChunks = &Artifact{Target: "releases/1.0.0/amd64/initramfs.chunks", Length: MaxChunkMap(20 << 20), SHA256: sum}
	return r
}

func TestReleaseChunks(t *testing.T) {
	want := chunkedRelease()
	data, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseRelease(data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.Size() != 30<<20 || len(got.Artifacts()) != 2 {
		t.Errorf("the maps count as artifacts: %v", got.Artifacts())
	}
	if all := got.Targets(); !slices.Equal(all, []Artifact{got.Kernel, got.Initramfs, *got.KernelChunks, *got.InitramfsChunks}) {
		t.Errorf("targets %v", all)
	}
	if all := validRelease().Targets(); len(all) != 2 {
		t.Errorf("targets without maps: %v", all)
	}
}

func validChannel() *Channel {
	return &Channel{Schema: 1, Name: "stable", Releases: map[string]ReleaseRef{
		"amd64": {Version: "1.0.0", Target: "releases/1.0.0/amd64/release.json", SHA256: ID(sum)},
	}}
}

func TestReleaseRoundTrip(t *testing.T) {
	want := validRelease()
	data, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseRelease(data)
	if err != nil {
		t.Fatal(err)
	}
	if *got != *want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.Size() != 30 || len(got.Artifacts()) != 2 || got.Artifacts()[0] != got.Kernel {
		t.Errorf("size %d, artifacts %v", got.Size(), got.Artifacts())
	}
	again, err := got.Encode()
	if err != nil || !bytes.Equal(again, data) {
		t.Errorf("the encoding is not stable: %v", err)
	}
	if a, b := IdentityOf(data), IdentityOf(append(data, ' ')); a == b || len(a) != 64 || len(a.Short()) != 12 {
		t.Errorf("identities %q and %q", a, b)
	}
	if ID("ab").Short() != "ab" {
		t.Error("a short identity is cut")
	}
}

func TestReleaseRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Release){
		"no schema":           func(r *Release) { r.Schema = 0 },
		"newer schema":        func(r *Release) { r.Schema = Schema + 1 },
		"no version":          func(r *Release) { r.Version = "" },
		"version is a path":   func(r *Release) { r.Version = "1/2" },
		"no architecture":     func(r *Release) { r.Arch = "" },
		"kernel target":       func(r *Release) { r.Kernel.Target = "../vmlinuz" },
		"initramfs target":    func(r *Release) { r.Initramfs.Target = "/initramfs" },
		"empty kernel":        func(r *Release) { r.Kernel.Length = 0 },
		"negative length":     func(r *Release) { r.Initramfs.Length = -1 },
		"short hash":          func(r *Release) { r.Kernel.SHA256 = sum[1:] },
		"upper-case hash":     func(r *Release) { r.Kernel.SHA256 = strings.ToUpper(sum) },
		"no hash":             func(r *Release) { r.Kernel.SHA256 = strings.Repeat("x", 64) },
		"command line":        func(r *Release) { r.Cmdline = "a\nb" },
		"notes without limit": func(r *Release) { r.Notes = strings.Repeat("n", MaxManifestSize) },
		"map of another release": func(r *Release) {
			r.KernelChunks.Target = "releases/1.0.1/amd64/vmlinuz.chunks"
		},
		"maps the wrong way round": func(r *Release) { r.KernelChunks, r.InitramfsChunks = r.InitramfsChunks, r.KernelChunks },
		"map in another place":     func(r *Release) { r.InitramfsChunks.Target = "../initramfs.chunks" },
		"map without a hash":       func(r *Release) { r.InitramfsChunks.SHA256 = "" },
		"empty map":                func(r *Release) { r.InitramfsChunks.Length = 0 },
		"large map":                func(r *Release) { r.InitramfsChunks.Length = 20<<20/50 + 4<<10 + 1 },
	} {
		r := chunkedRelease()
		spoil(r)
		if _, err := r.Encode(); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: Encode: %v", name, err)
		}
	}
}

func TestParseReleaseRefused(t *testing.T) {
	data, err := validRelease().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, input := range map[string][]byte{
		"empty":      nil,
		"null":       []byte("null"),
		"array":      []byte("[]"),
		"cut short":  data[:len(data)/2],
		"more after": append(append([]byte(nil), data...), "{}"...),
		"too large":  append(append([]byte(nil), data...), bytes.Repeat([]byte(" "), MaxManifestSize)...),
		"wrong type": []byte(`{"schema":"1"}`),
	} {
		if _, err := ParseRelease(input); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	more := bytes.Replace(data, []byte("{"), []byte(`{"later": [1],`), 1)
	if _, err := ParseRelease(more); err != nil {
		t.Errorf("an unknown field: %v", err)
	}
}

func TestChannel(t *testing.T) {
	data, err := validChannel().Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseChannel(data)
	if err != nil || got.Releases["amd64"] != validChannel().Releases["amd64"] {
		t.Fatalf("got %+v, %v", got, err)
	}
	set := func(c *Channel, spoil func(*ReleaseRef)) {
		ref := c.Releases["amd64"]
		spoil(&ref)
		c.Releases["amd64"] = ref
	}
	for name, spoil := range map[string]func(*Channel){
		"schema":       func(c *Channel) { c.Schema = 2 },
		"name":         func(c *Channel) { c.Name = "Stable" },
		"architecture": func(c *Channel) { c.Releases["x/y"] = c.Releases["amd64"] },
		"version":      func(c *Channel) { set(c, func(r *ReleaseRef) { r.Version = "-" }) },
		"target":       func(c *Channel) { set(c, func(r *ReleaseRef) { r.Target = "a/../../b" }) },
		"hash":         func(c *Channel) { set(c, func(r *ReleaseRef) { r.SHA256 = "" }) },
	} {
		c := validChannel()
		spoil(c)
		if _, err := c.Encode(); !errors.Is(err, ErrFormat) {
			t.Errorf("bad %s: %v", name, err)
		}
	}
	if _, err := ParseChannel([]byte("{")); !errors.Is(err, ErrFormat) {
		t.Errorf("cut short: %v", err)
	}
}

func TestCheckTarget(t *testing.T) {
	long := strings.Repeat("a", 128)
	for _, name := range []string{"a", "a/b", "releases/1.0+x~y_z-w/amd64/vmlinuz", long} {
		if err := CheckTarget(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", "/", "/a", "a/", "a//b", "./a", "a/.", "a/..", "../a", "a/../b", "a/../../b", ".a", "a/.b",
		"a\\b", "a b", "a%2fb", "a?b", "a#b", "a:b", "a\x00", "a\nb", "é", long + "a",
	} {
		if err := CheckTarget(name); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		check     func(string) error
		good, bad []string
	}{
		{CheckVersion, []string{"1", "1.2.3-rc.1+b~2_x", strings.Repeat("9", 64)}, []string{"", ".1", "-1", "1 2", "1/2", "..", strings.Repeat("9", 65)}},
		{CheckArch, []string{"amd64", "riscv64", "x86_64"}, []string{"", "AMD64", "a/b", "..", strings.Repeat("a", 33)}},
		{CheckChannel, []string{"stable", "beta-2"}, []string{"", "Stable", "a.b", "a/b", "-a"}},
		{CheckCmdline, []string{"", "console=ttyS0,115200 root=/dev/ram0 $x", strings.Repeat("c", 1024)},
			[]string{`a="b"`, "a='b'", `a\b`, "a\tb", "a\nb", "é", "\x7f", strings.Repeat("c", 1025), "quiet tufboot.slot=B", "tufboot.try=0"}},
	} {
		for _, s := range c.good {
			if err := c.check(s); err != nil {
				t.Errorf("%q: %v", s, err)
			}
		}
		for _, s := range c.bad {
			if err := c.check(s); !errors.Is(err, ErrFormat) {
				t.Errorf("%q: %v", s, err)
			}
		}
	}
}

// TestTargetNames checks that what the functions name can be a target.
func TestTargetNames(t *testing.T) {
	for got, want := range map[string]string{
		ChannelTarget("stable"):                      "channels/stable.json",
		ReleaseTarget("1.0", "amd64", KernelFile):    "releases/1.0/amd64/vmlinuz",
		ReleaseTarget("1.0", "amd64", ManifestFile):  "releases/1.0/amd64/release.json",
		ReleaseTarget("1.0", "amd64", InitramfsFile): "releases/1.0/amd64/initramfs",
		HashedPath("a/b/c", sum):                     "a/b/" + sum + ".c",
		HashedPath("c", sum):                         sum + ".c",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if err := CheckTarget(got); err != nil {
			t.Error(err)
		}
	}
}

// FuzzParseRelease wants what it accepts to be stable: encoded and parsed again
// it is the same, and its targets are safe paths.
func FuzzParseRelease(f *testing.F) {
	data, err := validRelease().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"schema":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRelease(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("an error without ErrFormat: %v", err)
			}
			return
		}
		for _, a := range r.Artifacts() {
			if !filepath.IsLocal(a.Target) || a.Length <= 0 {
				t.Errorf("accepted %+v", a)
			}
		}
		again, err := r.Encode()
		if err != nil {
			return // accepted with white space and larger when indented
		}
		if r2, err := ParseRelease(again); err != nil || *r2 != *r {
			t.Errorf("%+v comes back as %+v, %v", r, r2, err)
		}
	})
}

// FuzzParseChannel wants every accepted pointer to be safe, every path to end,
// and what is accepted to be stable: encoded and parsed again it is the same.
func FuzzParseChannel(f *testing.F) {
	for _, c := range []*Channel{validChannel(), policyChannel()} {
		data, err := c.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "3")
	}
	f.Add([]byte(`{"schema":1,"name":"a","releases":null}`), "")
	f.Fuzz(func(t *testing.T, data []byte, booted string) {
		c, err := ParseChannel(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("an error without ErrFormat: %v", err)
			}
			return
		}
		for arch, ref := range c.Releases {
			for _, ref := range append(c.Steps[arch], ref) {
				if CheckArch(arch) != nil || !filepath.IsLocal(ref.Target) || len(ref.SHA256) != 64 {
					t.Errorf("accepted %q: %+v", arch, ref)
				}
				if percent := ref.Rollout.Percent(monday); percent < 0 || percent > 100 {
					t.Errorf("accepted %+v", ref.Rollout)
				}
			}
			checkPath(t, c, arch, booted)
		}
		again, err := c.Encode()
		if err != nil {
			return // accepted without white space and larger when indented
		}
		c2, err := ParseChannel(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if third, err := c2.Encode(); err != nil || !bytes.Equal(third, again) {
			t.Errorf("%s comes back as %s, %v", again, third, err)
		}
	})
}

// FuzzCheckTarget wants every accepted name to stay below its folder, hashed
// or not, and to mean the same in a URL.
func FuzzCheckTarget(f *testing.F) {
	for _, s := range []string{"a/b", "../a", "a/../b", "a%2e", ".a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if CheckTarget(name) != nil {
			return
		}
		for _, path := range []string{name, HashedPath(name, sum)} {
			if !filepath.IsLocal(path) || filepath.Clean(path) != path || strings.ContainsAny(path, "%?#\\: ") {
				t.Errorf("accepted %q", path)
			}
		}
	})
}

// FuzzCheckCmdline wants every accepted command line to be one line that needs
// no quoting.
func FuzzCheckCmdline(f *testing.F) {
	for _, s := range []string{"quiet", `a="b"`, "a\nb", "tufboot.slot=A"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckCmdline(s) == nil && (strings.ContainsAny(s, "\"'\\\n\r\x00") || len(s) > 1024 || strings.HasPrefix(s, "tufboot.") || strings.Contains(s, " tufboot.")) {
			t.Errorf("accepted %q", s)
		}
	})
}
