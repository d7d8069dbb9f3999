package repository

import (
	"net/http"
	"os"
	"path"
	"strings"

	"tufboot/metadata"
	"tufboot/metadata/storage"
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
	w.Header().Set("Content-Type", storage.ContentType(name))
	w.Header().Set("Cache-Control", storage.CacheControl(name))
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

// notFound answers so that no cache keeps it: a root that is not there yet may be
// there in a minute.
func notFound(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "not found", http.StatusNotFound)
}
