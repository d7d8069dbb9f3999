package metadata

import (
	"cmp"
	"strings"
)

// CompareVersions orders versions, and returns -1, 0 or 1. It is the order of
// the UAPI group's Version Format Specification 1.0 as systemd implements it
// (systemd-analyze compare-versions, systemd-sysupdate), so that every tool on a
// node agrees on what is newer:
//
//   - digits count by value: 1.9 is below 1.10, and 1.01 is 1.1;
//   - "~" starts a pre-release: 2.0~rc1 is below 2.0. Semantic Versioning's
//     2.0-rc1 is above 2.0, because "-" starts what comes after a version;
//   - a longer version is above its beginning, but for "~": 2.0 is below 2.0.1;
//   - at the same place, "-" is below "^", this below ".", and letters are below
//     digits (where the specification counts letters as 0, systemd decides);
//   - "_" and "+" separate, and mean nothing else: 1_ is 1.
//
// 0 therefore does not say that two versions are written the same, and never
// that two releases are: that is what their identities are for.
func CompareVersions(a, b string) int {
	for {
		a, b = strings.TrimLeftFunc(a, isFiller), strings.TrimLeftFunc(b, isFiller)
		var c int
		if a, b, c = compareMark(a, b, '~'); c != 0 {
			return c
		}
		if a == "" || b == "" {
			return cmp.Compare(len(a), len(b))
		}
		for _, mark := range []byte("-^.") {
			if a, b, c = compareMark(a, b, mark); c != 0 {
				return c
			}
		}
		if a, b, c = compareRun(a, b); c != 0 {
			return c
		}
	}
}

// isFiller reports whether a character only separates.
func isFiller(r rune) bool {
	return !isDigit(r) && !isLetter(r) && !strings.ContainsRune("-.~^", r)
}

func isDigit(r rune) bool  { return '0' <= r && r <= '9' }
func isLetter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }

// compareMark compares whether a and b start with mark: the one that does is
// lower. If both do, it is taken off.
func compareMark(a, b string, mark byte) (restA, restB string, c int) {
	inA, inB := a != "" && a[0] == mark, b != "" && b[0] == mark
	switch {
	case inA && inB:
		return a[1:], b[1:], 0
	case inA:
		return a, b, -1
	case inB:
		return a, b, 1
	}
	return a, b, 0
}

// compareRun compares the runs of digits, or else of letters, that a and b start
// with, and takes them off.
func compareRun(a, b string) (restA, restB string, c int) {
	runA, restA := cutRun(a, isDigit)
	runB, restB := cutRun(b, isDigit)
	if runA != "" && runB != "" {
		runA, runB = strings.TrimLeft(runA, "0"), strings.TrimLeft(runB, "0")
		return restA, restB, cmp.Or(cmp.Compare(len(runA), len(runB)), cmp.Compare(runA, runB))
	}
	if runA != "" || runB != "" {
		return restA, restB, cmp.Compare(len(runA), len(runB))
	}
	runA, restA = cutRun(a, isLetter)
	runB, restB = cutRun(b, isLetter)
	return restA, restB, cmp.Compare(runA, runB)
}

// cutRun cuts off the characters that s starts with and that in holds for.
func cutRun(s string, in func(rune) bool) (run, rest string) {
	rest = strings.TrimLeftFunc(s, in)
	return s[:len(s)-len(rest)], rest
}
