//go:build gcs

package storage_test

import (
	"testing"

	"tufboot/metadata/storage"
	"tufboot/metadata/storage/storagetest"
)

func TestGCS(t *testing.T) {
	newBucket := storagetest.StartGCS(t)
	storagetest.Run(t, func(t *testing.T) storagetest.Place {
		place := newBucket(t)
		return func() storage.Store { return openStore(t, place) }
	})
}
