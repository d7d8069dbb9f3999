//go:build !azure

package storage

import (
	"context"
	"errors"
	"net/url"

	"gocloud.dev/blob"
)

func openAzure(context.Context, *url.URL) (*blob.Bucket, service, error) {
	return nil, service{}, errors.New("the driver for Azure Blob Storage is not in this program: build it with -tags azure")
}
