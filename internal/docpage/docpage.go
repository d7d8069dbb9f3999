// Package docpage writes what a program measured into a page of the documentation,
// between two marks, so that nobody copies figures by hand:
//
//	<!-- NAME -->
//	...
//	<!-- /NAME -->
package docpage

import (
	"fmt"
	"os"
	"strings"
)

// Write replaces what is between the marks called name in the file page by text, which
// ends with a newline. A page without these marks is an error.
func Write(page, name, text string) error {
	data, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	before, rest, found := strings.Cut(string(data), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return fmt.Errorf("%s has no %s...%s", page, strings.TrimSpace(begin), end)
	}
	return os.WriteFile(page, []byte(before+begin+text+end+after), 0o644)
}
