package storage

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"strings"
	"time"

	"gocloud.dev/blob"
)

// Bucket is a store in a bucket of an object store, or in a folder of one.
//
// An object appears when the last byte of it has been sent and confirmed, whole,
// to every reader: that is what all three services promise, and what takes the
// place of a folder's rename. What an upload that was killed leaves behind is not
// visible; a life-cycle rule of the bucket ("abort incomplete multipart
// uploads") frees the space.
type Bucket struct {
	bucket   *blob.Bucket
	service  service
	place    string
	patience time.Duration // for one file of metadata, retries included
	transfer time.Duration // for one piece of a large file
}

// service is in what the object stores differ and what gocloud.dev has no
// common words for. Each function gets an As function of gocloud.dev.
type service struct {
	// version tells two contents of an object apart: the ETag or generation of
	// what has been opened, looked at or listed.
	version func(as func(any) bool) string
	// onlyIf makes a write fail unless the object still has that version.
	onlyIf func(as func(any) bool, version string) error
	// never is a version that no object has.
	never string
	// beforeRead may be nil.
	beforeRead func(as func(any) bool) error
	// status is the HTTP status in an error, or 0.
	status func(error) int
	// noBucket says that it is the bucket that is not there, not the object.
	noBucket func(error) bool
	// advice says in words what is missing, or "". It may be nil.
	advice func(error) string
}

// Limits of one bucket. The SDK tries three times, and waits in between.
const (
	bucketPatience   = 2 * time.Minute
	transferPatience = 10 * time.Minute
)

// OpenBucket returns the store in the bucket that address names; it does not
// ask the server yet. The address is that of gocloud.dev/blob:
//
//	s3://BUCKET?region=eu-central-1
//	s3://BUCKET/os?endpoint=https://minio.example:9000&use_path_style=true
//	gs://BUCKET/os       in a program built with -tags gcs
//	azblob://CONTAINER   in a program built with -tags azure
//
// A path, or the parameter prefix, is the folder of the bucket that holds the
// repository. Credentials come from where each service's own tools find them
// (environment, configuration files, the machine's identity), never from the
// address.
//
// The tests run s3:// against a real server, and gs:// and azblob:// against
// emulators: these two were never run against the real services.
func OpenBucket(ctx context.Context, address string) (*Bucket, error) {
	u, prefix, err := parseBucket(address)
	if err != nil {
		return nil, err
	}
	scheme := strings.ToLower(u.Scheme)
	var (
		bucket *blob.Bucket
		svc    service
	)
	switch scheme {
	case "s3":
		bucket, svc, err = openS3(ctx, u)
	case "gs":
		bucket, svc, err = openGCS(ctx, u)
	case "azblob":
		bucket, svc, err = openAzure(ctx, u)
	default:
		return nil, errScheme(scheme)
	}
	place := placeOf(u, prefix)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", place, err)
	}
	if prefix != "" {
		bucket = blob.PrefixedBucket(bucket, prefix)
	}
	return &Bucket{bucket: bucket, service: svc, place: place, patience: bucketPatience, transfer: transferPatience}, nil
}

func isBucket(scheme string) bool {
	return scheme == "s3" || scheme == "gs" || scheme == "azblob"
}

// parseBucket takes the folder out of a bucket's address.
func parseBucket(address string) (u *url.URL, prefix string, err error) {
	if u, err = parseURL(address); err != nil {
		return nil, "", err
	}
	q := u.Query()
	prefix = strings.Trim(q.Get("prefix"), "/")
	folder := strings.Trim(u.Path, "/")
	switch {
	case u.Host == "" || u.User != nil || u.Fragment != "" || u.Port() != "":
		return nil, "", fmt.Errorf("%q: write %s://BUCKET or %[2]s://BUCKET/FOLDER", shown(address), u.Scheme)
	case q.Has("key"):
		return nil, "", fmt.Errorf("%s: a repository cannot lie in a single key", shown(address))
	case prefix != "" && folder != "":
		return nil, "", fmt.Errorf("%s: give the folder in the path or as ?prefix=, not both", shown(address))
	case folder != "":
		prefix = folder
	}
	if checkPrefix(prefix, "") != nil {
		return nil, "", fmt.Errorf("%s: %q cannot be a folder of a bucket", shown(address), prefix)
	}
	if prefix != "" {
		prefix += "/"
	}
	q.Del("prefix")
	u.Path, u.RawPath, u.RawQuery = "", "", q.Encode()
	return u, prefix, nil
}

// placeOf names a bucket for people, so that two of them can be told apart.
func placeOf(u *url.URL, prefix string) string {
	place := u.Scheme + "://" + u.Host + strings.TrimSuffix("/"+prefix, "/")
	if endpoint := u.Query().Get("endpoint"); endpoint != "" {
		place += " at " + shown(endpoint)
	}
	return place
}

// String names the bucket and the folder in it.
func (b *Bucket) String() string { return b.place }

// Open reads an object; see [Reader]. The Version comes with the content, in
// one answer.
func (b *Bucket) Open(ctx context.Context, name string) (io.ReadCloser, Info, error) {
	if err := checkName("open", name, b.place); err != nil {
		return nil, Info{}, err
	}
	ctx, watch := newWatch(ctx, b.patience)
	r, err := b.bucket.NewReader(ctx, name, &blob.ReaderOptions{BeforeRead: b.service.beforeRead})
	watch.pause()
	if err != nil {
		err = b.fail(ctx, "open", name, err)
		watch.end()
		return nil, Info{}, err
	}
	info := Info{Name: name, Size: r.Size(), Modified: r.ModTime(), Version: b.service.version(r.As)}
	return &watchedBody{ctx, watch, r}, info, nil
}

// Stat asks for an object's size and version; see [Reader].
func (b *Bucket) Stat(ctx context.Context, name string) (Info, error) {
	const op = "look at"
	if err := checkName(op, name, b.place); err != nil {
		return Info{}, err
	}
	ctx, watch := newWatch(ctx, b.patience)
	defer watch.end()
	attr, err := b.bucket.Attributes(ctx, name)
	if err != nil {
		return Info{}, b.fail(ctx, op, name, err)
	}
	return Info{Name: name, Size: attr.Size, Modified: attr.ModTime, Version: b.service.version(attr.As)}, nil
}

// List yields the objects below a folder; see [Lister].
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := checkPrefix(prefix, b.place); err != nil {
			yield(Info{}, err)
			return
		}
		for token := blob.FirstPageToken; len(token) > 0; {
			page, next, err := b.page(ctx, token, prefix)
			if err != nil {
				yield(Info{}, err)
				return
			}
			for _, obj := range page {
				// Consoles make an empty object "folder/" for a folder.
				if !fs.ValidPath(obj.Key) || obj.Key == probe {
					continue
				}
				info := Info{Name: obj.Key, Size: obj.Size, Modified: obj.ModTime, Version: b.service.version(obj.As)}
				if !yield(info, nil) {
					return
				}
			}
			token = next
		}
	}
}

// page returns some objects of a list. It is used instead of an iterator that
// ends with io.EOF: so does a connection that is cut, and a list that has been
// cut short must not be taken for a whole one.
func (b *Bucket) page(ctx context.Context, token []byte, prefix string) ([]*blob.ListObject, []byte, error) {
	const size = 1000 // the most that S3 gives at once
	ctx, watch := newWatch(ctx, b.patience)
	defer watch.end()
	objects, next, err := b.bucket.ListPage(ctx, token, size, &blob.ListOptions{Prefix: prefix})
	if err != nil {
		return nil, nil, b.fail(ctx, "list", prefix, err)
	}
	return objects, next, nil
}

var _ Store = (*Bucket)(nil)
