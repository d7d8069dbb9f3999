//go:build azure

package storage

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	azureblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // registers azblob://
)

// openAzure opens a container of Azure Blob Storage. This variant has passed the
// tests on Microsoft's emulator, and was never run against the real service.
func openAzure(ctx context.Context, u *url.URL) (*blob.Bucket, service, error) {
	bucket, err := blob.OpenBucket(ctx, u.String())
	return bucket, service{
		version:  azureVersion,
		onlyIf:   azureOnlyIf,
		never:    `"0x0"`,
		status:   azureStatus,
		noBucket: func(err error) bool { return bloberror.HasCode(err, bloberror.ContainerNotFound) },
	}, err
}

// azureVersion returns the ETag.
func azureVersion(as func(any) bool) string {
	var (
		opened azureblob.DownloadStreamResponse
		looked azureblob.GetPropertiesResponse
		listed container.BlobItem
		etag   *azcore.ETag
	)
	switch {
	case as(&opened):
		etag = opened.ETag
	case as(&looked):
		etag = looked.ETag
	case as(&listed) && listed.Properties != nil:
		// Lists have it without the quotes of the HTTP header.
		if etag = listed.Properties.ETag; etag != nil && !strings.HasPrefix(string(*etag), `"`) {
			return `"` + string(*etag) + `"`
		}
	}
	if etag == nil {
		return ""
	}
	return string(*etag)
}

func azureOnlyIf(as func(any) bool, version string) error {
	var opts *azblob.UploadStreamOptions
	if !as(&opts) {
		return errors.New("this version of gocloud.dev cannot write to Azure Blob Storage conditionally")
	}
	etag := azcore.ETag(version)
	opts.AccessConditions = &azblob.AccessConditions{
		ModifiedAccessConditions: &azureblob.ModifiedAccessConditions{IfMatch: &etag},
	}
	return nil
}

func azureStatus(err error) int {
	var answer *azcore.ResponseError
	if errors.As(err, &answer) {
		return answer.StatusCode
	}
	return 0
}
