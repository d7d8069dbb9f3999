package metadata_test

import (
	"fmt"
	"strings"

	"tufboot/metadata"
)

// A release is known by the hash of its manifest, and lies in a repository
// under the hash of its bytes.
func Example() {
	sum := strings.Repeat("ab", 32)
	release := metadata.Release{
		Schema:  metadata.Schema,
		Version: "1.4.0",
		Arch:    "amd64",
		Kernel: metadata.Artifact{
			Target: metadata.ReleaseTarget("1.4.0", "amd64", metadata.KernelFile),
			Length: 8 << 20,
			SHA256: sum,
		},
		Initramfs: metadata.Artifact{
			Target: metadata.ReleaseTarget("1.4.0", "amd64", metadata.InitramfsFile),
			Length: 60 << 20,
			SHA256: sum,
		},
		Cmdline: "console=ttyS0 quiet",
	}
	manifest, err := release.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("identity:", metadata.IdentityOf(manifest).Short())
	fmt.Println("kernel:", metadata.HashedPath(release.Kernel.Target, sum[:8]+"..."))
	// Output:
	// identity: 246557c86009
	// kernel: releases/1.4.0/amd64/abababab....vmlinuz
}
