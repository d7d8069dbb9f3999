package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"tufboot/e2e/machine"
	"tufboot/grub"
)

// published returns the digests of what a slot must hold of each release in the folder
// of a repository, by version.
func published(repo string, versions ...string) (map[string]digests, error) {
	cmdline, err := grub.CmdlineConfig(machine.Cmdline)
	if err != nil {
		return nil, err
	}
	all := make(map[string]digests)
	for _, version := range versions {
		all[version] = digests{grub.CmdlineFile: sumOf(cmdline)}
		for _, name := range []string{manifestFile, grub.KernelFile, grub.InitramfsFile} {
			found, err := filepath.Glob(filepath.Join(repo, "targets", "releases", version, "*", "*."+name))
			if err != nil || len(found) != 1 {
				return nil, fmt.Errorf("%s has %d files %s of release %s", repo, len(found), name, version)
			}
			content, err := os.ReadFile(found[0])
			if err != nil {
				return nil, err
			}
			all[version][name] = sumOf(content)
		}
	}
	return all, nil
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
