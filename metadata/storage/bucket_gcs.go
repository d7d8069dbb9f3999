//go:build gcs

package storage

import (
	"context"
	"errors"
	"net/url"
	"strconv"

	gcs "cloud.google.com/go/storage"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/gcsblob" // registers gs://
	"google.golang.org/api/googleapi"
)

// openGCS opens a bucket of Google Cloud Storage. This variant has passed the
// tests on an emulator, and was never run against the real service.
func openGCS(ctx context.Context, u *url.URL) (*blob.Bucket, service, error) {
	bucket, err := blob.OpenBucket(ctx, u.String())
	return bucket, service{
		version:  gcsVersion,
		onlyIf:   gcsOnlyIf,
		never:    "1",
		status:   gcsStatus,
		noBucket: func(err error) bool { return errors.Is(err, gcs.ErrBucketNotExist) },
	}, err
}

// gcsVersion returns the generation.
func gcsVersion(as func(any) bool) string {
	var (
		opened *gcs.Reader
		found  gcs.ObjectAttrs
	)
	switch {
	case as(&opened):
		return strconv.FormatInt(opened.Attrs.Generation, 10)
	case as(&found):
		return strconv.FormatInt(found.Generation, 10)
	}
	return ""
}

func gcsOnlyIf(as func(any) bool, version string) error {
	generation, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return err
	}
	var object **gcs.ObjectHandle
	if !as(&object) {
		return errors.New("this version of gocloud.dev cannot write to Google Cloud Storage conditionally")
	}
	*object = (*object).If(gcs.Conditions{GenerationMatch: generation})
	return nil
}

func gcsStatus(err error) int {
	var answer *googleapi.Error
	if errors.As(err, &answer) {
		return answer.Code
	}
	return 0
}
