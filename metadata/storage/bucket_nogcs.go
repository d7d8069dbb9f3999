//go:build !gcs

package storage

import (
	"context"
	"errors"
	"net/url"

	"gocloud.dev/blob"
)

func openGCS(context.Context, *url.URL) (*blob.Bucket, service, error) {
	return nil, service{}, errors.New("the driver for Google Cloud Storage is not in this program: build it with -tags gcs")
}
