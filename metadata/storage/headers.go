package storage

import (
	"path"
	"strings"
)

// Values of Cache-Control.
const (
	cacheForever = "public, max-age=31536000, immutable"
	cacheAsk     = "no-cache"
	cacheNever   = "no-store"
)

// CacheControl returns the value of the HTTP header Cache-Control that a file of
// a repository is handed out with, by whatever server or CDN.
//
// A file whose name holds its version (N.role.json) or its SHA-256
// (SHA256.name) never changes: it may be kept for a year. Every other file
// (timestamp.json) may be kept and has to be asked for each time. What lies in
// [WorkDir] is nobody's business and must not be kept at all. The same holds for
// answers that a file is not there (404), which is the server's to say: a root
// that is not there yet may be there in a minute.
func CacheControl(name string) string {
	if private(name) {
		return cacheNever
	}
	base := path.Base(name)
	first, rest, _ := strings.Cut(base, ".")
	version := first != "" && only(first, "0123456789") && strings.HasSuffix(rest, ".json") && len(rest) > len(".json")
	hash := len(first) == 64 && only(first, "0123456789abcdef") && rest != ""
	if version || hash {
		return cacheForever
	}
	return cacheAsk
}

// ContentType returns the media type of a file of a repository. No server has
// to guess it from the content, and no browser either.
func ContentType(name string) string {
	if strings.HasSuffix(name, ".json") {
		return "application/json"
	}
	return "application/octet-stream"
}

// private says that a file belongs to the tool and not to the repository's
// readers.
func private(name string) bool {
	return name == WorkDir || strings.HasPrefix(name, WorkDir+"/")
}

func only(s, chars string) bool { return strings.Trim(s, chars) == "" }
