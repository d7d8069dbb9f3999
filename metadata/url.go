package metadata

import (
	"net/url"
	"strings"
)

// FileURL returns the address of a repository's file on a web server that hands
// the repository out at base. name is relative, with slashes. Each segment is
// escaped, "+" too, which some object stores read as a space.
func FileURL(base *url.URL, name string) *url.URL {
	segments := strings.Split(name, "/")
	for i, seg := range segments {
		segments[i] = strings.ReplaceAll(url.PathEscape(seg), "+", "%2B")
	}
	u := *base
	u.Path = strings.TrimSuffix(base.Path, "/") + "/" + name
	u.RawPath = strings.TrimSuffix(base.EscapedPath(), "/") + "/" + strings.Join(segments, "/")
	return &u
}
