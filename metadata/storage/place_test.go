package storage_test

import (
	"errors"
	"strings"
	"testing"

	"tufboot/metadata/storage"
)

func TestOpen(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	const s3Query = "region=us-east-1"
	tests := []struct{ place, string, wrong string }{
		{"repo", "repo", ""},
		{"./repo", "./repo", ""},
		{"/srv/repo", "/srv/repo", ""},
		{"a/b://c", "a/b://c", ""}, // a path: no scheme has a slash
		{"file:///srv/repo/", "/srv/repo", ""},
		{"file:///srv/a%20b", "/srv/a b", ""},
		{"file://localhost/srv/repo", "/srv/repo", ""},
		{"s3://bucket?" + s3Query, "s3://bucket", ""},
		{"S3://bucket?" + s3Query, "s3://bucket", ""},
		{"s3://bucket/os?" + s3Query, "s3://bucket/os", ""},
		{"s3://bucket/os/edge/?" + s3Query, "s3://bucket/os/edge", ""},
		{"s3://bucket?prefix=os/&" + s3Query, "s3://bucket/os", ""},
		{"s3://bucket?endpoint=https://me:secret@minio:9000&" + s3Query, "s3://bucket at https://me:xxxxx@minio:9000", ""},
		{"http://example.com/os", "http://example.com/os", "cannot be written over HTTP; give the folder or the bucket"},
		{"https://me:secret@example.com/os", "https://me:xxxxx@example.com/os", "cannot be written over HTTP"},

		{"", "", "no place given"},
		{"file://server/repo", "", "write file:///absolute/folder"},
		{"file:repo", "file:repo", ""}, // a path
		{"ftp://example.com", "", "ftp:// is no kind of place that is known"},
		{"s3://", "", "write s3://BUCKET"},
		{"s3://key:secret@bucket", "", "write s3://BUCKET"},
		{"s3://bucket:80", "", "write s3://BUCKET"},
		{"s3://bucket/a?prefix=b", "", "not both"},
		{"s3://bucket?key=a", "", "single key"},
		{"s3://bucket/../a", "", "cannot be a folder"},
		{"s3://bucket?prefix=a//b", "", "cannot be a folder"},
		{"s3://bucket?nonsense=1", "", "nonsense"},
		{"s3://secret\x7f", "", "invalid control character"},
	}
	for _, test := range tests {
		s, err := storage.Open(t.Context(), test.place)
		checkPlace(t, "Open", test.place, test.string, test.wrong, s, err)
		r, err := storage.OpenReader(t.Context(), test.place)
		wrong := test.wrong
		if strings.HasPrefix(test.place, "http") {
			wrong = ""
		}
		checkPlace(t, "OpenReader", test.place, test.string, wrong, r, err)
	}
	_, err := storage.Open(t.Context(), "https://example.com")
	if !errors.Is(err, storage.ErrReadOnly) {
		t.Errorf("got %v", err)
	}
}

func checkPlace(t *testing.T, what, place, want, wrong string, r storage.Reader, err error) {
	t.Helper()
	switch {
	case err != nil && (wrong == "" || !strings.Contains(err.Error(), wrong)):
		t.Errorf("%s(%q): the error is %v, want %q", what, place, err, wrong)
	case err != nil && strings.Contains(err.Error(), "secret"):
		t.Errorf("%s(%q): the error tells a password: %v", what, place, err)
	case err == nil && wrong != "":
		t.Errorf("%s(%q): no error, want %q", what, place, wrong)
	case err == nil && r.String() != want:
		t.Errorf("%s(%q) is %q, want %q", what, place, r, want)
	}
}

func TestOpenReaderRefusesAddress(t *testing.T) {
	for _, place := range []string{"http://", "http:///path", "https://host/?a=b", "https://host/#a", "http://secret\x7f"} {
		r, err := storage.OpenReader(t.Context(), place)
		if err == nil {
			t.Errorf("%q: %v", place, r)
		} else if strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
	}
}
