package upstream

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"
)

// fileTree serves <root>/<host>/<path> of the layouts that were added, the last
// added first.
type fileTree struct {
	mu    sync.RWMutex
	roots []string
}

func (t *fileTree) addRoot(dir string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.roots = append([]string{dir}, t.roots...)
}

// has says whether any file of the host is there.
func (t *fileTree) has(host string) bool {
	f, _, err := t.open(host)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}

func (t *fileTree) open(name string) (*os.File, fs.FileInfo, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, root := range t.roots {
		f, err := os.Open(filepath.Join(root, filepath.FromSlash(path.Clean("/"+name))))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		info, err := f.Stat()
		if err != nil {
			return nil, nil, errors.Join(err, f.Close())
		}
		return f, info, nil
	}
	return nil, nil, fs.ErrNotExist
}

// ServeHTTP implements http.Handler for /<host>/<path>. Files have an entity tag
// of size and time and a Last-Modified, as download sites give.
func (t *fileTree) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "read only", http.StatusMethodNotAllowed)
		return
	}
	f, info, err := t.open(r.URL.Path)
	if errors.Is(err, fs.ErrNotExist) {
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { _ = f.Close() }()
	if !info.Mode().IsRegular() {
		http.NotFound(w, r)
		return
	}
	tag := strconv.FormatInt(info.ModTime().UnixNano(), 36) + "-" + strconv.FormatInt(info.Size(), 36)
	w.Header().Set("ETag", `"`+tag+`"`)
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, info.Name(), info.ModTime(), f)
}
