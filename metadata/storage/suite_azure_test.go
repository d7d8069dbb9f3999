//go:build azure

package storage_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"

	"tufboot/metadata/storage"
	"tufboot/metadata/storage/storagetest"
)

func TestAzure(t *testing.T) {
	storagetest.StartAzure(t)
	client, err := azblob.NewClientFromConnectionString(os.Getenv("AZURE_STORAGE_CONNECTION_STRING"), nil)
	if err != nil {
		t.Fatal(err)
	}
	containers := 0
	storagetest.Run(t, func(t *testing.T) storagetest.Place {
		containers++
		name := fmt.Sprintf("container-%d", containers)
		if _, err := client.CreateContainer(t.Context(), name, nil); err != nil {
			t.Fatal(err)
		}
		return func() storage.Store { return openStore(t, "azblob://"+name) }
	})
}
