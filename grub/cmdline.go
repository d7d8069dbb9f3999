package grub

import (
	"fmt"
	"slices"
	"strings"
)

// CmdlineConfig returns the content of a slot's CmdlineFile, which hands the
// release's kernel arguments to grub.cfg. A slot without that file, or with one
// that is cut short, is not booted: its kernel would start without what the
// release needs.
//
// The command line is printable ASCII without quotes and backslashes (GRUB
// escapes these on the way to the kernel, grub-core/lib/cmdline.c). Words that
// GRUB would expand to file names are refused as well: those that start with "/",
// "(" or "*" and hold a "*" or "?" (grub-core/commands/wildcard.c).
func CmdlineConfig(cmdline string) ([]byte, error) {
	for _, r := range cmdline {
		if r < ' ' || r > '~' || strings.ContainsRune(`"'\`, r) {
			return nil, fmt.Errorf("kernel command line: character %q cannot be passed through GRUB", r)
		}
	}
	words := strings.Fields(cmdline)
	for _, word := range words {
		if strings.ContainsAny(word[:1], "/(*") && strings.ContainsAny(word, "*?") {
			return nil, fmt.Errorf("kernel command line: GRUB would expand %q to file names", word)
		}
		if strings.HasPrefix(word, "tufboot.") {
			return nil, fmt.Errorf("kernel command line: %q: the prefix tufboot. is grub.cfg's own", word)
		}
	}
	// Behind "--" are the arguments of init: nothing of ours may follow them.
	var initArgs []string
	if i := slices.Index(words, "--"); i >= 0 {
		words, initArgs = words[:i], words[i:]
	}
	verbose := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "quiet" })
	var out strings.Builder
	out.WriteString("# Kernel arguments of the release in this slot; written by tufboot.\n")
	fmt.Fprintf(&out, "set tufboot_args='%s'\n", strings.Join(words, " "))
	fmt.Fprintf(&out, "set tufboot_args_verbose='%s'\n", strings.Join(verbose, " "))
	fmt.Fprintf(&out, "set tufboot_args_init='%s'\n", strings.Join(initArgs, " "))
	out.WriteString("set tufboot_args_end=1\n")
	return []byte(out.String()), nil
}
