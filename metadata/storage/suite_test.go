package storage_test

import (
	"testing"

	"tufboot/metadata/storage"
	"tufboot/metadata/storage/storagetest"
)

func TestFolder(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Place {
		dir := t.TempDir()
		return func() storage.Store { return storage.NewFolder(dir) }
	})
}
