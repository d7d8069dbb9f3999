package repository_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// Make keys and a repository, publish a release, and read it as a client would.
func Example() {
	if err := example(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// published 1.0.0 to stable: root version 1, timestamp version 2
	// verified 4 targets
}

func example(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	keysDir, repoDir, kernel := filepath.Join(dir, "keys"), filepath.Join(dir, "repo"), filepath.Join(dir, "vmlinuz")
	if err := os.WriteFile(kernel, []byte("kernel"), 0o644); err != nil {
		return err
	}

	password := []byte("correct horse")
	roles, err := repository.MakeKeys(keysDir, repository.KeyPlan{Type: repository.Ed25519, RootKeys: 3, RootThreshold: 2}, password)
	if err != nil {
		return err
	}
	keys, err := repository.OpenKeys([]string{keysDir}, func(string) ([]byte, error) { return password, nil })
	if err != nil {
		return err
	}
	repo, err := repository.Create(ctx, storage.NewFolder(repoDir), repository.CreateOptions{Roles: roles, Keys: keys})
	if err != nil {
		return err
	}
	if err := repository.FinishKeys(keysDir); err != nil {
		return err
	}

	p, err := repo.Publish(ctx, repository.PublishOptions{
		Version: "1.0.0", Arch: "amd64", Channel: "stable", Kernel: kernel, Initramfs: kernel, Keys: keys,
	})
	if err != nil {
		return err
	}
	fmt.Printf("published %s to %s: root version %d, timestamp version %d\n", p.Release.Version, p.Channel, p.Versions.Root, p.Versions.Timestamp)

	v, err := repository.Verify(ctx, storage.NewFolder(repoDir), repository.VerifyOptions{})
	if err != nil {
		return err
	}
	fmt.Printf("verified %d targets\n", v.Targets)
	return nil
}
