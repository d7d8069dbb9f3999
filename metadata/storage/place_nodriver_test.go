//go:build !gcs && !azure

package storage_test

import (
	"strings"
	"testing"

	"tufboot/metadata/storage"
)

// TestMissingDriver: who needs another service is told how to get it.
func TestMissingDriver(t *testing.T) {
	for place, want := range map[string]string{
		"gs://bucket":        "open bucket gs://bucket: the driver for Google Cloud Storage is not in this program: build it with -tags gcs",
		"azblob://container": "open bucket azblob://container: the driver for Azure Blob Storage is not in this program: build it with -tags azure",
	} {
		_, err := storage.Open(t.Context(), place)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", place, err)
		}
	}
}
