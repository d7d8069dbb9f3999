package storage_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"testing"

	"tufboot/metadata/storage"
)

// failing is a place that cannot be read.
type failing struct {
	storage.Reader
	err error
}

func (f failing) Open(context.Context, string) (io.ReadCloser, storage.Info, error) {
	return nil, storage.Info{}, f.err
}

// TestTransport reads a folder through it with the reader of web servers, which
// escapes the names.
func TestTransport(t *testing.T) {
	folder := storage.NewFolder(t.TempDir())
	const name, content = "targets/a+b %41.bin", "some bytes"
	if err := folder.Create(t.Context(), name, []byte(content)); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the disk is broken")
	for _, c := range []struct {
		label, name string
		from        storage.Reader
		want        error
	}{
		{"a file", name, folder, nil},
		{"no file", "targets/none", folder, fs.ErrNotExist},
		{"a place that fails", name, failing{folder, broken}, broken},
	} {
		t.Run(c.label, func(t *testing.T) {
			web := storage.NewHTTP("http://place.invalid", &http.Client{Transport: storage.Transport{From: c.from}})
			data, info, err := storage.ReadFile(t.Context(), web, c.name, 100)
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err == nil && (string(data) != content || info.Size != int64(len(content))) {
				t.Errorf("%q, of %d bytes", data, info.Size)
			}
		})
	}
}
