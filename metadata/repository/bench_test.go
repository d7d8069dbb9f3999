package repository

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// BenchmarkPublish publishes a small release into a repository with n others.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{0, 100, 10000} {
		b.Run(fmt.Sprintf("releases=%d", n), func(b *testing.B) {
			r, keys := benchRepo(b, n)
			opts := benchRelease(b, keys, 1)
			i := 0
			for b.Loop() {
				i++
				opts.Version = fmt.Sprintf("new-%d", i)
				if _, err := r.Publish(b.Context(), opts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPublishLarge publishes 256 MiB: MB/s is what hashing, writing and making
// the chunk map reach together.
func BenchmarkPublishLarge(b *testing.B) {
	const size = 256 << 20
	for _, noDelta := range []bool{false, true} {
		b.Run(fmt.Sprintf("map=%t", !noDelta), func(b *testing.B) {
			r, keys := benchRepo(b, 0)
			opts := benchRelease(b, keys, size)
			opts.NoDelta = noDelta
			b.SetBytes(size)
			i := 0
			for b.Loop() {
				i++
				opts.Version = fmt.Sprintf("new-%d", i)
				if _, err := r.Publish(b.Context(), opts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// benchRepo makes a repository whose metadata names n releases.
func benchRepo(b *testing.B, n int) (*Repository, *KeyDir) {
	b.Helper()
	keysDir := b.TempDir()
	roles, err := MakeKeys(keysDir, KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1}, nil)
	if err != nil {
		b.Fatal(err)
	}
	keys, err := OpenKeys([]string{keysDir}, nil)
	if err != nil {
		b.Fatal(err)
	}
	r, err := Create(b.Context(), storage.NewFolder(b.TempDir()), CreateOptions{Options: at(start), Roles: roles, Keys: keys})
	if err != nil {
		b.Fatal(err)
	}
	e, err := r.Edit(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	for i := range n {
		for _, file := range []string{metadata.ManifestFile, metadata.KernelFile, metadata.InitramfsFile} {
			name := metadata.ReleaseTarget(fmt.Sprint(i), "amd64", file)
			if _, err := e.set(b.Context(), name, strings.Repeat("ab", 32), 1); err != nil {
				b.Fatal(err)
			}
		}
	}
	if _, err := e.Commit(b.Context(), keys); err != nil {
		b.Fatal(err)
	}
	return r, keys
}

func benchRelease(b *testing.B, keys Signers, size int64) PublishOptions {
	b.Helper()
	dir := b.TempDir()
	opts := PublishOptions{
		Arch: "amd64", Channel: "stable", Keys: keys,
		Kernel: filepath.Join(dir, "kernel"), Initramfs: filepath.Join(dir, "initramfs"),
	}
	for path, length := range map[string]int64{opts.Kernel: 1, opts.Initramfs: size} {
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.CopyN(f, rand.NewChaCha8([32]byte{}), length); err != nil || f.Close() != nil {
			b.Fatal(err)
		}
	}
	return opts
}
