package repository

import (
	"net/http"
	"os"
	"path"
	"regexp"
	"strings"

	"tufboot/metadata"
)

// Handler hands a repository out over HTTP: a static file server for a laptop
// or a LAN mirror, with the cache headers that any server of a repository
// should send. It needs no keys and trusts nobody. Close frees the folder.
type Handler struct{ root *os.Root }

// NewHandler returns a handler for the repository in dir. Names, links
// included, that lead out of dir do not exist for it.
func NewHandler(dir string) (*Handler, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Handler{root}, nil
}

// Close frees the folder.
func (h *Handler) Close() { _ = h.root.Close() }

// Cache-Control values. A file whose name holds its version or hash never
// changes. The timestamp does. A root that is not there yet may be there in a
// minute: if a cache kept that answer, nodes would miss a change of keys.
const (
	cacheForever = "public, max-age=31536000, immutable"
	cacheAsk     = "no-cache"
	cacheNever   = "no-store"
)

var immutableName = regexp.MustCompile(`^([0-9]+\.[^/]+\.json|[0-9a-f]{64}\.[^/]+)$`)

// ServeHTTP answers GET and HEAD for files below metadata/ and targets/, with
// ranges and conditions (http.ServeContent).
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	name, ok := servedName(req.URL.Path)
	if !ok {
		notFound(w)
		return
	}
	// Whatever the cause that a file cannot be read, a reader has no use for it.
	info, err := h.root.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		notFound(w)
		return
	}
	f, err := h.root.Open(name)
	if err != nil {
		notFound(w)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", contentType(name))
	if immutableName.MatchString(path.Base(name)) {
		w.Header().Set("Cache-Control", cacheForever)
	} else {
		w.Header().Set("Cache-Control", cacheAsk)
	}
	http.ServeContent(w, req, "", info.ModTime(), f)
}

// servedName returns the file for a URL path, if it can be one of a repository.
func servedName(urlPath string) (string, bool) {
	name := strings.TrimPrefix(urlPath, "/")
	if path.Clean(name) != name || strings.Contains(name, "\\") {
		return "", false
	}
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "" || segment[0] == '.' {
			return "", false
		}
	}
	top, rest, _ := strings.Cut(name, "/")
	return name, rest != "" && (top == metadata.MetadataDir || top == metadata.TargetsDir)
}

func contentType(name string) string {
	if strings.HasSuffix(name, ".json") {
		return "application/json"
	}
	return "application/octet-stream"
}

func notFound(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", cacheNever)
	http.Error(w, "not found", http.StatusNotFound)
}
