package repository

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tufboot/metadata"
	"tufboot/metadata/chunks"
	"tufboot/metadata/storage"
)

const formatPage = "../../docs/repository.md"

var updateFormat = flag.Bool("update-format", false, "write the examples of docs/repository.md again")

// example starts an example in the page: the file that the block after it
// shows, and perhaps the part of it.
var example = regexp.MustCompile("(?s)<!-- example: ([^ ]+)(?: ([^ ]+))? -->\n\n```(?:json|text)\n(.*?)```\n")

// TestFormatPage makes the repository that docs/repository.md shows, with fixed
// keys and times, and compares every example.
func TestFormatPage(t *testing.T) {
	page, err := os.ReadFile(formatPage)
	if err != nil {
		t.Fatal(err)
	}
	dir := exampleRepo(t)
	if _, err := Verify(t.Context(), storage.NewFolder(dir), VerifyOptions{Options: at(start.Add(3 * day))}); err != nil {
		t.Fatal(err)
	}
	found := 0
	got := example.ReplaceAllStringFunc(string(page), func(block string) string {
		found++
		m := example.FindStringSubmatch(block)
		head := strings.TrimSuffix(block, m[3]+"```\n")
		return head + exampleText(t, dir, m[1], m[2]) + "```\n"
	})
	if found < 8 {
		t.Errorf("%d examples", found)
	}
	if *updateFormat {
		if err := os.WriteFile(formatPage, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != string(page) {
		t.Errorf("the examples of %s are not what is written now; run: go test ./metadata/repository -run TestFormatPage -update-format", formatPage)
	}
}

// exampleText is what an example shows: the list of all files, a file, or a part
// of a JSON file, found by its keys.
func exampleText(t *testing.T, dir, name, part string) string {
	t.Helper()
	switch name {
	case "files":
		return strings.Join(exampleFiles(t, dir), "\n") + "\n"
	case "channel":
		return exampleTarget(t, dir, metadata.ChannelTarget("stable"))
	}
	found, err := filepath.Glob(filepath.Join(dir, name))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", name, found, err)
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	if part == "" {
		return string(data)
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	for key := range strings.SplitSeq(part, ".") {
		if list, ok := value.([]any); ok {
			n, err := strconv.Atoi(key)
			if err != nil {
				t.Fatal(err)
			}
			value = list[n]
			continue
		}
		value = value.(map[string]any)[key]
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// exampleTarget returns the bytes of a target as it is now.
func exampleTarget(t *testing.T, dir, name string) string {
	t.Helper()
	st, err := load(t.Context(), storage.NewFolder(dir))
	if err != nil {
		t.Fatal(err)
	}
	data, err := st.readTarget(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func exampleFiles(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	for name := range contentOf(t, dir) {
		if !strings.HasSuffix(name, "lock") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	// A hash of 64 digits makes no line easier to read.
	for i, name := range names {
		names[i] = regexp.MustCompile(`[0-9a-f]{64}`).ReplaceAllStringFunc(name, func(sum string) string { return sum[:8] + "..." })
	}
	return names
}

// exampleRepo makes the repository of the page: two root keys of which both must
// sign, 1.3.0 and 1.4.0 published to beta and promoted to stable, which has a key
// of its own.
func exampleRepo(t *testing.T) string {
	t.Helper()
	keys := make(heldKeys)
	key := func(name string) crypto.PublicKey {
		seed := sha256.Sum256([]byte(name))
		private := ed25519.NewKeyFromSeed(seed[:])
		id, err := KeyID(private.Public())
		if err != nil {
			t.Fatal(err)
		}
		if keys[id], err = NewSigner(private); err != nil {
			t.Fatal(err)
		}
		return private.Public()
	}
	role := func(threshold int, names ...string) RoleKeys {
		k := RoleKeys{Threshold: threshold}
		for _, name := range names {
			k.Keys = append(k.Keys, key(name))
		}
		return k
	}
	dir := t.TempDir()
	_, err := Create(t.Context(), storage.NewFolder(dir), CreateOptions{Options: at(start), Keys: keys, Roles: map[string]RoleKeys{
		Root: role(2, "alice", "ben"), Targets: role(1, "targets"), Snapshot: role(1, "snapshot"), Timestamp: role(1, "timestamp"),
		Releases: role(1, "publish"), Channels: role(1, "publish"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	step := func(days int) *Repository {
		return newRepository(storage.NewFolder(dir), at(start.Add(time.Duration(days)*day)))
	}
	if _, err := step(0).ChangeKeys(t.Context(), ProposeOptions{Roles: map[string]RoleEdit{
		ChannelRole("stable"): {Add: []crypto.PublicKey{key("stable")}, Threshold: 1},
	}}, keys); err != nil {
		t.Fatal(err)
	}
	for i, version := range []string{"1.3.0", "1.4.0"} {
		opts := release(t, keys, version, version)
		opts.Channel, opts.Cmdline, opts.Notes = "beta", "console=ttyS0 quiet", "The second release.\n"
		if version == "1.4.0" {
			writeFile(t, opts.Initramfs, countedHashes(1<<20))
		}
		if _, err := step(2*i).Publish(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
		promotion := PromoteOptions{Version: version, From: "beta", To: "stable", Keys: keys}
		if version == "1.4.0" {
			promotion.Minimum = "1.2.0"
			promotion.Rollout = []metadata.Wave{{After: 0, Percent: 10}, {After: 86400, Percent: 100}}
		}
		if _, err := step(2*i+1).Promote(t.Context(), promotion); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := step(3).SetMaintenance(t.Context(), "stable", &metadata.Maintenance{Days: []string{"sat", "sun"}, Start: "02:00", Duration: 4 * 3600}, keys); err != nil {
		t.Fatal(err)
	}
	return dir
}

// countedHashes returns the first n bytes of SHA-256(0), SHA-256(1), ...
func countedHashes(n int) string {
	var data []byte
	for i := uint64(0); len(data) < n; i++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		data = append(data, sum[:]...)
	}
	return string(data[:n])
}

// TestFormatPageMap compares what the page says of the chunk map of its example.
func TestFormatPageMap(t *testing.T) {
	page, err := os.ReadFile(formatPage)
	if err != nil {
		t.Fatal(err)
	}
	b := chunks.NewBuilder(chunks.DefaultParams())
	_, _ = io.WriteString(b, countedHashes(1<<20))
	m, err := b.Map()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("It has %d chunks, of ", len(m.Chunks))
	for _, c := range m.Chunks[:6] {
		want += fmt.Sprintf("%d, ", c.Length)
	}
	if text := strings.Join(strings.Fields(string(page)), " "); !strings.Contains(text, want+"... bytes") {
		t.Errorf("the page does not say %q", want)
	}
}

// TestFormatPageNumbers compares the numbers that the page names.
func TestFormatPageNumbers(t *testing.T) {
	page, err := os.ReadFile(formatPage)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(page)), " ")
	levels, p := binLevels(), chunks.DefaultParams()
	for _, want := range []string{
		fmt.Sprintf("| any other metadata file | %d MiB |", maxMetadata>>20),
		fmt.Sprintf("| timestamp.json | %d KiB |", maxTimestamp>>10),
		fmt.Sprintf("| release manifest, channel file | %d KiB |", metadata.MaxManifestSize>>10),
		fmt.Sprintf("%d <= *min* < *average* < *max* <= %d. Publishers use %d, %d and %d |", chunks.MinChunk, chunks.MaxChunk, p.Min, p.Average, p.Max),
		fmt.Sprintf("Publishers make maps of artifacts of %d MiB and more", metadata.MinChunked>>20),
		fmt.Sprintf("at most a 50th of the artifact's plus %d.", metadata.MaxChunkMap(50<<20)-(1<<20)),
		fmt.Sprintf("at most %d requests for a release", chunks.MaxFetches),
		fmt.Sprintf("| waves of a rollout | %d |", metadata.MaxWaves),
		fmt.Sprintf("| steps of a channel, for an architecture | %d |", metadata.MaxSteps),
		fmt.Sprintf("| previous releases of a channel, for an architecture | %d |", metadata.MaxPrevious),
		fmt.Sprintf("| versions of root.json | %d |", maxRoots),
		fmt.Sprintf("the last %d", maxHistory),
		fmt.Sprintf("| up to %d | none |", levels[0].most),
		fmt.Sprintf("| up to %d | 16, `releases-0` to `releases-f` |", levels[1].most),
		fmt.Sprintf("| up to %d | 256, `releases-00` to `releases-ff` |", levels[2].most),
		"| more | 4096, `releases-000` to `releases-fff` |",
		"`" + expiryField + "`", "`" + windowField + "`", "`" + expiresField + "`",
		"`" + releasesPaths + "`", "`" + channelsPaths + "`",
		"`" + storage.CacheControl("metadata/1.root.json") + "`", "`" + storage.CacheControl("metadata/timestamp.json") + "`",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if levels[1].bits != 4 || levels[2].bits != 8 || levels[3].bits != 12 || path.Base(historyDir) != "history" {
		t.Error("the page speaks of other hash bins")
	}
}
