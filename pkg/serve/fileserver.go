package serve

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
)

// FileList is the JSON listing of one folder of the file tree.
type FileList struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"` // "FileList"
	// Path of the folder, with a slash at both ends.
	Path string `json:"path"`
	// Root is the path of the tree's top.
	Root    string      `json:"-"`
	Entries []FileEntry `json:"entries"`
}

// FileEntry is a file, or a folder when its name ends in a slash.
type FileEntry struct {
	Name   string        `json:"name"`
	Size   int64         `json:"size,omitempty"` // bytes
	Mode   string        `json:"mode,omitempty"` // octal
	Digest digest.Digest `json:"digest,omitempty"`
}

// serveTree answers for a path of a tree: a file, or the listing of a folder.
func (s *Server) serveTree(w *recorder, r *http.Request, tree *fileTree) error {
	p := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, strings.TrimSuffix(tree.root, "/")), "/")
	if f, ok := tree.files[p]; ok {
		return s.serveFile(w, r, p, f)
	}
	dir := strings.TrimSuffix(p, "/")
	if tree.dirs[dir] == nil {
		return &registryError{status: http.StatusNotFound, code: codeNameUnknown,
			message: fmt.Sprintf("no bundle served here carries a file or folder %q", p)}
	}
	if !strings.HasSuffix(r.URL.Path, "/") {
		w.Header().Set("Location", (&url.URL{Path: tree.list(dir).Path}).EscapedPath())
		w.WriteHeader(http.StatusMovedPermanently)
		return nil
	}
	list := tree.list(dir)
	w.Header().Set("Vary", "Accept")
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		return writeListing(w, r, list)
	}
	writeJSON(w, r, http.StatusOK, list)
	return nil
}

func (s *Server) serveFile(w *recorder, r *http.Request, p string, f file) error {
	if unchanged(w, r, f) {
		return nil
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", path.Base(p)))
	h.Set("Cache-Control", cacheNever)
	if f.digest.Algorithm() == digest.SHA256 {
		h.Set("X-Checksum-Sha256", f.digest.Encoded())
		if raw, err := hex.DecodeString(f.digest.Encoded()); err == nil {
			h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(raw)+":")
		}
	}
	return s.serveContent(w, r, f.digest, f.size)
}

// list is the listing of a folder, sorted by name.
func (t *fileTree) list(dir string) *FileList {
	list := &FileList{APIVersion: manifest.APIVersion, Kind: "FileList", Root: t.root, Path: t.root, Entries: []FileEntry{}}
	if dir != "" {
		list.Path += dir + "/"
	}
	for _, name := range slices.Sorted(maps.Keys(t.dirs[dir])) {
		e := FileEntry{Name: name}
		if f, ok := t.files[strings.TrimPrefix(dir+"/"+name, "/")]; ok {
			e.Size, e.Mode, e.Digest = f.size, f.mode, f.digest
		}
		list.Entries = append(list.Entries, e)
	}
	return list
}

const listingHTML = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Path}}</title></head>
<body><h1>{{.Path}}</h1>
<table>
<tr><th align="left">Name</th><th align="right">Bytes</th><th align="left">Digest</th></tr>
{{- if ne .Path .Root}}
<tr><td><a href="../">../</a></td><td></td><td></td></tr>
{{- end}}
{{- range .Entries}}
<tr><td><a href="./{{.Name}}">{{.Name}}</a></td><td align="right">{{if .Digest}}{{.Size}}{{end}}</td><td><code>{{.Digest}}</code></td></tr>
{{- end}}
</table></body></html>
`

// writeListing answers a browser.
func writeListing(w *recorder, r *http.Request, list *FileList) error {
	page, err := template.New("listing").Parse(listingHTML)
	if err != nil {
		return fmt.Errorf("parsing the listing template: %w", err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	return page.Execute(w, list)
}
