package storage

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
)

// openS3 opens a bucket of S3, or of one of the many servers that speak its
// protocol.
func openS3(ctx context.Context, u *url.URL) (*blob.Bucket, service, error) {
	bucket, err := new(s3blob.URLOpener).OpenBucketURL(ctx, u)
	return bucket, service{
		version:    s3Version,
		onlyIf:     s3OnlyIf,
		never:      `"0"`,
		beforeRead: s3BeforeRead,
		status:     s3Status,
		noBucket:   func(err error) bool { return s3Code(err) == "NoSuchBucket" },
		advice:     s3Advice,
	}, err
}

// s3Version returns the ETag, which is in the same answer as the content.
func s3Version(as func(any) bool) string {
	var (
		opened s3.GetObjectOutput
		looked s3.HeadObjectOutput
		listed types.Object
	)
	switch {
	case as(&opened):
		return aws.ToString(opened.ETag)
	case as(&looked):
		return aws.ToString(looked.ETag)
	case as(&listed):
		return aws.ToString(listed.ETag)
	}
	return ""
}

// s3OnlyIf sets If-Match, which holds for an upload in one piece and for the
// last request of one in several.
func s3OnlyIf(as func(any) bool, version string) error {
	var in *transfermanager.UploadObjectInput
	if !as(&in) {
		return errors.New("this version of gocloud.dev cannot write to S3 conditionally")
	}
	in.IfMatch = aws.String(version)
	return nil
}

// s3BeforeRead keeps the SDK from printing a warning for each object whose
// checksum it cannot check: all that is read is checked by hashes of TUF.
func s3BeforeRead(as func(any) bool) error {
	var opts *[]func(*s3.Options)
	if as(&opts) {
		*opts = append(*opts, func(o *s3.Options) { o.DisableLogOutputChecksumValidationSkipped = true })
	}
	return nil
}

func s3Status(err error) int {
	var answer interface{ HTTPStatusCode() int }
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

func s3Code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// s3Advice knows the SDK's errors that say the least. They have no types.
func s3Advice(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "get credentials"):
		return "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
	case strings.Contains(text, "Missing Region"):
		return "no region: set AWS_REGION, or add ?region= to the address"
	}
	return ""
}
