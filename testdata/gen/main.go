// Command gen makes testdata/tuf-repo and testdata/keys again; run it in the
// repository's top folder.
package main

import (
	"context"
	"fmt"
	"os"

	"tufboot/metadata/repository/fixtures"
)

func main() {
	if err := fixtures.Generate(context.Background(), "testdata/tuf-repo", "testdata/keys"); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
