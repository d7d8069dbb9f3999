package storage

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// Open returns the store at place, which is a folder (a plain path, or
// file:///path) or a bucket (see [OpenBucket]). Nothing is asked of a bucket's
// server yet. For http:// and https:// the error wraps [ErrReadOnly]: a web
// server only hands out what was put there in another way.
func Open(ctx context.Context, place string) (Store, error) {
	scheme, isURL := schemeOf(place)
	switch {
	case !isURL:
		return openFolder(place)
	case isBucket(scheme):
		return OpenBucket(ctx, place)
	case scheme == "file":
		dir, err := fileURL(place)
		if err != nil {
			return nil, err
		}
		return NewFolder(dir), nil
	case scheme == "http" || scheme == "https":
		return nil, fmt.Errorf("%s: %w over HTTP; give the folder or the bucket that the server hands out", shown(place), ErrReadOnly)
	}
	return nil, errScheme(scheme)
}

// OpenReader returns the reader of the repository at place: whatever [Open]
// knows, and the http:// or https:// address of a static web server.
func OpenReader(ctx context.Context, place string) (Reader, error) {
	if scheme, _ := schemeOf(place); scheme == "http" || scheme == "https" {
		h := NewHTTP(place, nil)
		if h.err != nil {
			return nil, h.err
		}
		return h, nil
	}
	return Open(ctx, place)
}

// schemeOf returns the scheme of a URL. Whatever has no "://" is a path.
func schemeOf(place string) (scheme string, isURL bool) {
	scheme, _, isURL = strings.Cut(place, "://")
	if !isURL || scheme == "" || strings.ContainsAny(scheme, "/\\") {
		return "", false
	}
	return strings.ToLower(scheme), true
}

func errScheme(scheme string) error {
	return fmt.Errorf("%s:// is no kind of place that is known: use a folder, s3://, gs:// or azblob://, or to read https://", scheme)
}

func openFolder(dir string) (Store, error) {
	if dir == "" {
		return nil, errors.New("no place given: name a folder or a bucket")
	}
	return NewFolder(dir), nil
}

// fileURL returns the folder of a file:// URL (RFC 8089).
func fileURL(place string) (string, error) {
	u, err := parseURL(place)
	if err != nil {
		return "", err
	}
	if (u.Host != "" && u.Host != "localhost") || !filepath.IsAbs(u.Path) || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%s: write file:///absolute/folder", shown(place))
	}
	return filepath.Clean(filepath.FromSlash(u.Path)), nil
}

// parseURL is url.Parse without the address in the error: it may hold a
// password.
func parseURL(place string) (*url.URL, error) {
	u, err := url.Parse(place)
	if err != nil {
		var wrong *url.Error
		if errors.As(err, &wrong) {
			err = wrong.Err
		}
		return nil, fmt.Errorf("address: %w", err)
	}
	return u, nil
}

// shown returns an address as it may be shown: without password and without
// what follows the path, which may be a signature.
func shown(place string) string {
	u, err := url.Parse(place)
	if err != nil {
		return "this address"
	}
	u.RawQuery, u.Fragment, u.RawFragment = "", "", ""
	return u.Redacted()
}
