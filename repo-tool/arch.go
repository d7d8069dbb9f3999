package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata"
)

// checkArch warns of an architecture that no node is known to have, and refuses
// what is another name of one: nodes look for the name that Go has for it.
func checkArch(c *cli.Context) error {
	known := []string{"386", "amd64", "arm", "arm64", "loong64", "ppc64le", "riscv64", "s390x"}
	others := map[string]string{
		"x86_64": "amd64", "x86-64": "amd64", "x64": "amd64", "aarch64": "arm64", "armhf": "arm", "armv7l": "arm",
		"i386": "386", "i686": "386", "x86": "386", "loongarch64": "loong64", "ppc64el": "ppc64le",
	}
	arch := c.String("arch")
	if name := others[arch]; name != "" {
		return console.Usagef("%s: --arch %s: write %s, as Go names it and nodes look for it", commandName(c), arch, name)
	}
	possible := metadata.CheckArch(arch) == nil // what is not is refused later
	if !possible || slices.Contains(known, arch) {
		return nil
	}
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	v.logger.Warn("--arch is none that is known: nodes look for the name that Go has for it", "arch", arch, "known", strings.Join(known, " "))
	return nil
}
