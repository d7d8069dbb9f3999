//go:build linux && amd64

package kill

import (
	"io/fs"
	"os"
	"path/filepath"
)

// tree is a folder and all below it, by path.
type tree map[string]kept

type kept struct {
	mode fs.FileMode
	data []byte
}

func takeTree(root string) (tree, error) {
	t := tree{}
	return t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		k := kept{mode: info.Mode()}
		if !d.IsDir() {
			if k.data, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		name, err := filepath.Rel(root, path)
		t[name] = k
		return err
	})
}

// restore makes a folder what it was.
func (t tree) restore(root string) error {
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	for _, folders := range []bool{true, false} {
		for name, k := range t {
			if k.mode.IsDir() != folders {
				continue
			}
			path := filepath.Join(root, name)
			if folders {
				if err := os.MkdirAll(path, 0o700); err != nil {
					return err
				}
			} else if err := os.WriteFile(path, k.data, 0o600); err != nil {
				return err
			}
			if err := os.Chmod(path, k.mode.Perm()); err != nil {
				return err
			}
		}
	}
	return nil
}
