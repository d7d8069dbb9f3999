package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"tufboot/metadata/storage"
	"tufboot/metadata/storage/storagetest"
)

// TestS3Headers asks the server what it hands a file out with.
func TestS3Headers(t *testing.T) {
	server := storagetest.StartS3(t)
	address := server.Bucket(t)
	bucket, _, _ := strings.Cut(strings.TrimPrefix(address, "s3://"), "?")
	store := openStore(t, address)
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.BaseEndpoint, o.UsePathStyle = aws.String(server.Endpoint), true
	})
	wantHeaders := func(name string) {
		t.Helper()
		got, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &name})
		if err != nil {
			t.Fatal(err)
		}
		if cache := aws.ToString(got.CacheControl); cache != storage.CacheControl(name) {
			t.Errorf("%s: Cache-Control %q, want %q", name, cache, storage.CacheControl(name))
		}
		if kind := aws.ToString(got.ContentType); kind != storage.ContentType(name) {
			t.Errorf("%s: Content-Type %q, want %q", name, kind, storage.ContentType(name))
		}
	}
	for _, name := range []string{"metadata/1.root.json", "metadata/timestamp.json", storage.WorkDir + "/history/1.json"} {
		old := put(t, store, name, "{}")
		wantHeaders(name)
		if err := store.Replace(t.Context(), name, []byte("{ }"), old); err != nil {
			t.Fatal(err)
		}
		wantHeaders(name)
	}
	for _, data := range [][]byte{nil, large} { // in one piece, in several
		var name string
		_, _, err := store.Import(t.Context(), storage.Bytes(data), func(sum string) string {
			name = "targets/" + sum + ".vmlinuz"
			return name
		})
		if err != nil {
			t.Fatal(err)
		}
		wantHeaders(name)
	}
}

// TestS3Folder: a repository may lie in a folder of a bucket, beside others.
func TestS3Folder(t *testing.T) {
	server := storagetest.StartS3(t)
	whole := server.Bucket(t)
	in := func(folder, prefix string) storage.Store {
		return openStore(t, strings.Replace(whole, "?", folder+"?"+prefix, 1))
	}
	put(t, in("/os/edge", ""), "metadata/1.root.json", "edge")
	put(t, in("", "prefix=os-2/&"), "metadata/1.root.json", "two")
	for _, same := range []storage.Store{in("/os", ""), in("/os/", ""), in("", "prefix=os&"), in("", "prefix=os/&")} {
		if got := contents(t, same); got != "edge/metadata/1.root.json=edge" {
			t.Errorf("%s holds %q", same, got)
		}
	}
	if got, want := contents(t, openStore(t, whole)), "os-2/metadata/1.root.json=two os/edge/metadata/1.root.json=edge"; got != want {
		t.Errorf("the bucket holds %q, want %q", got, want)
	}
	// The empty object that consoles make for a folder is no file.
	if err := in("/os/edge", "").Remove(t.Context(), "metadata/1.root.json"); err != nil {
		t.Error(err)
	}
	storagetest.Run(t, func(t *testing.T) storagetest.Place {
		place := strings.Replace(server.Bucket(t), "?", "/os?", 1)
		return func() storage.Store { return openStore(t, place) }
	})
}

// TestS3ManyFiles: a list comes in pages.
func TestS3ManyFiles(t *testing.T) {
	const many, writers = 2100, 20
	store := openStore(t, storagetest.StartS3(t).Bucket(t))
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := w; i < many; i += writers {
				if err := store.Create(t.Context(), fmt.Sprintf("targets/%05d", i), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	i := 0
	for info, err := range store.List(t.Context(), "targets/") {
		if want := fmt.Sprintf("targets/%05d", i); err != nil || info.Name != want {
			t.Fatalf("got %s, %v, want %s", info.Name, err, want)
		}
		i++
	}
	if i != many {
		t.Errorf("listed %d", i)
	}
}

// endless gives n bytes and looks at the memory.
type endless struct {
	left int
	most *uint64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.left)
	if e.left%(16<<20) < n {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		*e.most = max(*e.most, stats.HeapInuse)
	}
	e.left -= n
	return n, nil
}

func (e *endless) Close() error { return nil }

// TestS3Memory: what is held does not grow with the file.
func TestS3Memory(t *testing.T) {
	const size, limit = 400 << 20, 150 << 20
	store := openStore(t, storagetest.StartS3(t).Bucket(t))
	var most uint64
	_, length, err := store.Import(t.Context(), func() (io.ReadCloser, error) {
		return &endless{size, &most}, nil
	}, func(sum string) string { return "targets/" + sum + ".x" })
	if err != nil || length != size {
		t.Fatalf("%d bytes, %v", length, err)
	}
	t.Logf("at most %d MB", most>>20)
	if most > limit {
		t.Errorf("held %d MB for a file of %d MB", most>>20, size>>20)
	}
}

// TestS3Refused: what a real server says to who may not, and to who is wrong.
func TestS3Refused(t *testing.T) {
	server := storagetest.StartS3(t)
	ops := func(s storage.Store) map[string]error {
		_, _, openErr := s.Open(t.Context(), oneName)
		var listErr error
		for _, listErr = range s.List(t.Context(), "metadata/") {
		}
		_, lockErr := s.Lock(t.Context())
		_, _, importErr := s.Import(t.Context(), storage.Bytes(nil), func(string) string { return oneName })
		return map[string]error{
			"open": openErr, "list": listErr, "lock": lockErr, "import": importErr,
			"create":  s.Create(t.Context(), oneName, nil),
			"replace": s.Replace(t.Context(), oneName, nil, storage.Info{Name: oneName, Version: `"0"`}),
		}
	}
	for what, err := range ops(openStore(t, server.Address("no-such-bucket", server.Endpoint))) {
		if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, storage.ErrChanged) ||
			!strings.Contains(err.Error(), "there is no such bucket") {
			t.Errorf("%s in no bucket: %v", what, err)
		}
	}
	place := server.Bucket(t)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	for what, err := range ops(openStore(t, place)) {
		if err == nil || !strings.Contains(err.Error(), "access denied: the credentials may not ") {
			t.Errorf("%s with a wrong key: %v", what, err)
		}
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	for what, err := range ops(openStore(t, place)) {
		if err == nil || !strings.Contains(err.Error(), "no credentials: set AWS_ACCESS_KEY_ID") {
			t.Errorf("%s without a key: %v", what, err)
		}
	}
}

// s3Env makes the environment one in which an S3 client can work.
func s3Env(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value)
	}
}

// TestServerWithoutConditions: on a server that does whatever it is asked to,
// two writers would overwrite each other's work.
func TestServerWithoutConditions(t *testing.T) {
	s3Env(t)
	there := false // whether the first condition is honoured
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"1"`)
		if there && r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusPreconditionFailed)
		}
	}))
	defer server.Close()
	store := openStore(t, "s3://bucket?use_path_style=true&endpoint="+server.URL)
	for _, want := range []string{"the server ignores conditions (If-None-Match)", "the server ignores conditions (If-Match)"} {
		_, err := store.Lock(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		there = true
	}
}

// TestSilentServer: a server that takes the connection and says nothing holds
// nobody for ever.
func TestSilentServer(t *testing.T) {
	s3Env(t)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer server.Close()
	bucket, err := storage.OpenBucket(t.Context(), "s3://bucket?use_path_style=true&endpoint="+server.URL)
	if err != nil {
		t.Fatal(err)
	}
	bucket.SetPatience(50 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, _, openErr := bucket.Open(ctx, "x")
	_, statErr := bucket.Stat(ctx, "x")
	var listErr error
	for _, listErr = range bucket.List(ctx, "") {
	}
	_, _, importErr := bucket.Import(ctx, storage.Bytes(large), func(string) string { return "x" })
	for what, err := range map[string]error{
		"open": openErr, "stat": statErr, "list": listErr, "import": importErr,
		"create": bucket.Create(ctx, "x", nil), "remove": bucket.Remove(ctx, "x"),
	} {
		if !errors.Is(err, storage.ErrStalled) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
