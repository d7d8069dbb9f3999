package storage_test

import (
	"testing"

	"tufboot/metadata/storage"
	"tufboot/metadata/storage/storagetest"
)

func openStore(t *testing.T, place string) storage.Store {
	t.Helper()
	s, err := storage.Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestS3(t *testing.T) {
	server := storagetest.StartS3(t)
	storagetest.Run(t, func(t *testing.T) storagetest.Place {
		place := server.Bucket(t)
		return func() storage.Store { return openStore(t, place) }
	})
}
