package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// S3 is a running S3 server: Versity's gateway, on a folder that goes when the
// test ends. It is a program that people run in earnest, not an imitation.
type S3 struct {
	// Endpoint is its address, such as http://127.0.0.1:40000.
	Endpoint string
	dir      string
	buckets  atomic.Int64
}

// Keys of the server.
const (
	accessKey = "tufboot-test"
	secretKey = "tufboot-test-secret"
)

// StartS3 builds the server, which takes a minute the first time, starts it, and
// sets the environment so that it is the test's AWS. It skips the test with
// -short.
func StartS3(t *testing.T) *S3 {
	t.Helper()
	if testing.Short() {
		t.Skip("starts an S3 server")
	}
	program := buildServer(t, "github.com/versity/versitygw/cmd/versitygw")
	s := &S3{dir: t.TempDir()}
	s.Endpoint = startServer(t, func(address string) []string {
		return []string{program, "--port", address, "--access", accessKey, "--secret", secretKey, "--quiet",
			// Without a folder of its own for attributes: then they would not
			// be replaced in the same moment as the content.
			"posix", s.dir}
	})
	for _, env := range s.Env() {
		name, value, _ := bytes.Cut([]byte(env), []byte("="))
		t.Setenv(string(name), string(value))
	}
	return s
}

// Env is the environment of a program that uses the server.
func (s *S3) Env() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey, "AWS_SESSION_TOKEN=",
		"AWS_REGION=us-east-1", "AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
		"AWS_EC2_METADATA_DISABLED=true",
	}
}

// Bucket makes an empty bucket and returns its address for storage.Open.
func (s *S3) Bucket(t *testing.T) string {
	t.Helper()
	return s.BucketAt(t, s.Endpoint)
}

// BucketAt is Bucket with the address of a proxy in front of the server.
func (s *S3) BucketAt(t *testing.T, endpoint string) string {
	t.Helper()
	name := fmt.Sprintf("bucket-%d", s.buckets.Add(1))
	if err := os.Mkdir(filepath.Join(s.dir, name), 0o700); err != nil {
		t.Fatal(err)
	}
	return s.Address(name, endpoint)
}

// Address returns the address of a bucket behind an endpoint.
func (s *S3) Address(bucket, endpoint string) string {
	q := url.Values{"endpoint": {endpoint}, "use_path_style": {"true"}, "region": {"us-east-1"}}
	return "s3://" + bucket + "?" + q.Encode()
}

// waitFor asks the server until it answers, whatever that is.
func waitFor(ctx context.Context, address string, ended <-chan error) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			return nil
		}
		select {
		case err := <-ended:
			return errors.Join(errors.New("the server has ended"), err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
