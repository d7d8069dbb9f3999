package metadata

import (
	"encoding/hex"
	"fmt"
	"path"
	"path/filepath"
	"strings"
)

// The files of a release, in a repository and in a slot.
const (
	ManifestFile  = "release.json"
	KernelFile    = "vmlinuz"
	InitramfsFile = "initramfs"
)

// ChunksSuffix ends the name of the target that is the chunk map of a file of a
// release.
const ChunksSuffix = ".chunks"

// The two folders of a repository, relative to its base address.
const (
	MetadataDir = "metadata"
	TargetsDir  = "targets"
)

// ExpiryField is the field of a role's entry in root.json, or in a delegation,
// that says how many seconds the role's metadata lives from its signing on. It
// is the policy that repo-tool signs by. Clients may do without it (TUF
// specification, section 4).
const ExpiryField = "x-tufboot-expiry-seconds"

// ExpiresField is the field of a role's entry in the snapshot that repeats when
// the role expires (RFC 3339), so that what is due can be told without reading
// every role.
const ExpiresField = "x-tufboot-expires"

// CheckVersion reports whether v can be a release's version: 1 to 64
// characters of A-Z a-z 0-9 . + _ ~ -, the first a letter or digit.
func CheckVersion(v string) error {
	if !isWord(v, 64, upper+lower, ".+_~-") {
		return fmt.Errorf("version %q: use 1 to 64 of A-Z a-z 0-9 . + _ ~ -, starting with a letter or digit: %w", v, ErrFormat)
	}
	return nil
}

// CheckArch reports whether arch can name an architecture (as Go names it:
// amd64, arm64, ...).
func CheckArch(arch string) error {
	if !isWord(arch, 32, lower, "_-") {
		return fmt.Errorf("architecture %q: use 1 to 32 of a-z 0-9 _ -, and begin with a letter or digit: %w", arch, ErrFormat)
	}
	return nil
}

// CheckChannel reports whether name can name a channel.
func CheckChannel(name string) error {
	if !isWord(name, 32, lower, "_-") {
		return fmt.Errorf("channel %q: use 1 to 32 of a-z 0-9 _ -, and begin with a letter or digit: %w", name, ErrFormat)
	}
	return nil
}

// CheckTarget reports whether name is a target name that is safe as a relative
// path and in a URL: segments of A-Z a-z 0-9 . + _ ~ - joined by "/".
func CheckTarget(name string) error {
	if !filepath.IsLocal(name) || path.Clean(name) != name {
		return fmt.Errorf("target name %q is not a clean relative path: %w", name, ErrFormat)
	}
	for segment := range strings.SplitSeq(name, "/") {
		if !isWord(segment, 128, upper+lower, ".+_~-") {
			return fmt.Errorf("target name %q: %q is not allowed: %w", name, segment, ErrFormat)
		}
	}
	return nil
}

const (
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lower  = "abcdefghijklmnopqrstuvwxyz"
	digits = "0123456789"
)

// isWord reports whether s is 1 to limit characters, each one of letters, a
// digit or one of marks, and the first no mark. (Regular expressions with such
// limits cost 0.4 ms at every start of a program, before main.)
func isWord(s string, limit int, letters, marks string) bool {
	return s != "" && len(s) <= limit &&
		strings.ContainsRune(letters+digits, rune(s[0])) && strings.Trim(s, letters+digits+marks) == ""
}

// reservedPrefix starts the kernel parameters by which the boot loader tells
// the agent what it has booted.
const reservedPrefix = "tufboot."

// CheckCmdline reports whether s can be a release's kernel command line.
// Quotes and backslashes are refused because GRUB escapes them on their way to
// the kernel (grub-core/lib/cmdline.c), which then reads something else; control
// characters because the command line is one line; the boot loader's own
// parameters (tufboot.slot=, ...) because a release that sets them would tell
// the agent a wrong slot; and words that GRUB would expand to file names
// (grub-core/commands/wildcard.c).
func CheckCmdline(s string) error {
	const limit = 1024
	if len(s) > limit {
		return fmt.Errorf("kernel command line has %d bytes, more than %d: %w", len(s), limit, ErrFormat)
	}
	for _, r := range s {
		if r < ' ' || r > '~' || strings.ContainsRune(`"'\`, r) {
			return fmt.Errorf("kernel command line: character %q cannot be passed through GRUB: %w", r, ErrFormat)
		}
	}
	for word := range strings.FieldsSeq(s) {
		if strings.HasPrefix(word, reservedPrefix) {
			return fmt.Errorf("kernel command line: %q is for the boot loader to set: %w", word, ErrFormat)
		}
		if strings.ContainsAny(word[:1], "/(*") && strings.ContainsAny(word, "*?") {
			return fmt.Errorf("kernel command line: GRUB would expand %q to file names: %w", word, ErrFormat)
		}
	}
	return nil
}

func checkSHA256(s string) error {
	if b, err := hex.DecodeString(s); err != nil || len(b) != 32 || strings.ToLower(s) != s {
		return fmt.Errorf("SHA-256 %q is not 64 lower-case hex digits: %w", s, ErrFormat)
	}
	return nil
}

// ChannelTarget returns the target name of a channel file.
func ChannelTarget(channel string) string {
	return "channels/" + channel + ".json"
}

// ReleaseTarget returns the target name of one file of a release; file is one
// of ManifestFile, KernelFile and InitramfsFile, or one of these two with
// ChunksSuffix.
func ReleaseTarget(version, arch, file string) string {
	return path.Join("releases", version, arch, file)
}

// HashedPath returns where a target's bytes lie below TargetsDir in a
// repository with consistent snapshots: the digest goes before the base name
// (TUF specification, section 6.2).
func HashedPath(target, sha256 string) string {
	dir, base := path.Split(target)
	return dir + sha256 + "." + base
}
