package metadata

import (
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
)

// specified are the examples of the UAPI group's Version Format Specification
// 1.0, and of systemd's own order where the specification is silent.
var specified = []string{
	"11 == 11", "systemd-123 == systemd-123", "bar-123 < foo-123", "123a > 123", "123.a > 123", "123.a < 123.b",
	"123a > 123.a", "11α == 11β", "B < a", "'' < 0", "0. > 0", "0.0 > 0", "0 > ~", "'' > ~", "1_ == 1", "_1 == 1",
	"1_ < 1.2", "1_2_3 > 1.3.3", "1+ == 1", "+1 == 1", "1+ < 1.2", "1+2+3 > 1.3.3",
	"1.9 < 1.10", "1.01 == 1.1", "2.0~rc1 < 2.0", "2.0-rc1 > 2.0", "2.0~rc1 < 2.0~rc2", "0 > a",
	"00000000000000000000000000000000001 < 2", "99999999999999999999998 < 99999999999999999999999",
}

// ascending is the specification's long example.
var ascending = strings.Fields("122.1 123~rc1-1 123 123-a 123-a.1 123-1 123-1.1 123^post1 123.a-1 123.1-1 123a-1 124-1")

func TestCompareVersions(t *testing.T) {
	signs := map[string]int{"<": -1, "==": 0, ">": 1}
	for _, example := range specified {
		parts := strings.Fields(strings.ReplaceAll(example, "''", "\x00"))
		a, b := strings.Trim(parts[0], "\x00"), strings.Trim(parts[2], "\x00")
		if got := CompareVersions(a, b); got != signs[parts[1]] {
			t.Errorf("%s: got %d", example, got)
		}
		if got := CompareVersions(b, a); got != -signs[parts[1]] {
			t.Errorf("%s, the other way round: got %d", example, got)
		}
	}
	for i, a := range ascending {
		for j, b := range ascending {
			want := min(max(i-j, -1), 1)
			if got := CompareVersions(a, b); got != want {
				t.Errorf("%s and %s: got %d, want %d", a, b, got, want)
			}
		}
	}
}

// someVersion makes a version of few characters, so that two of them meet.
func someVersion(r *rand.Rand) string {
	const alphabet = "0019aabB..--~~^_+"
	b := make([]byte, r.IntN(7))
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

// checkOrder wants the three to be in a total preorder.
func checkOrder(t *testing.T, a, b, c string) {
	t.Helper()
	ab, bc, ac := CompareVersions(a, b), CompareVersions(b, c), CompareVersions(a, c)
	if CompareVersions(a, a) != 0 || CompareVersions(b, a) != -ab {
		t.Errorf("%q and %q: not antisymmetric", a, b)
	}
	if ab <= 0 && bc <= 0 && (ac > 0 || ac == 0 && ab+bc != 0) {
		t.Errorf("%q, %q, %q: not transitive: %d, %d, %d", a, b, c, ab, bc, ac)
	}
}

func TestVersionsAreInATotalOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300_000 {
		checkOrder(t, someVersion(r), someVersion(r), someVersion(r))
	}
}

func FuzzCompareVersions(f *testing.F) {
	f.Add("1.0", "1.0~rc1", "1-2")
	f.Add("1_", "+1", "é1")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		checkOrder(t, a, b, c)
	})
}

// TestVersionsLikeSystemd asks the real systemd-analyze.
func TestVersionsLikeSystemd(t *testing.T) {
	const tool = "systemd-analyze"
	if _, err := exec.LookPath(tool); err != nil {
		if testing.Short() {
			t.Skip("no " + tool)
		}
		t.Fatalf("%v (to install it: make deps)", err)
	}
	pairs := 300
	if testing.Short() {
		pairs = 60
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range pairs {
		a, b := someVersion(r), someVersion(r)
		out, err := exec.CommandContext(t.Context(), tool, "compare-versions", "--", a, b).CombinedOutput()
		if len(out) == 0 {
			t.Fatalf("%s compare-versions -- %q %q: %v", tool, a, b, err)
		}
		fields := strings.Fields(string(out))
		want := map[string]int{"<": -1, "==": 0, ">": 1}[fields[1]]
		if got := CompareVersions(a, b); got != want {
			t.Errorf("%q and %q: got %d, and systemd says %s", a, b, got, out)
		}
	}
}
