package upstream

import (
	"net"
	"net/http"
	"slices"
	"strings"
)

// The paths outside /v2/.
const (
	filesPath = "/files/"
	blobsPath = "/_cdn/" // where redirected blobs lie
	labPath   = "/_lab/"
	tokenPath = labPath + "token"
)

// handler is the chain every request takes: host names to paths, administration,
// then log, faults, authentication and the content.
func (u *Upstream) handler() http.Handler {
	content := http.NewServeMux()
	content.Handle("/v2/", u.registry)
	content.Handle(blobsPath, http.StripPrefix(blobsPath, http.HandlerFunc(u.registry.blobs.serveCDN)))
	content.Handle(filesPath, http.StripPrefix(strings.TrimSuffix(filesPath, "/"), u.files))
	guarded := u.log.wrap(u.faults.wrap(u.registry, u.auth.wrap(content)))
	admin := u.admin()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, labPath) {
			admin.ServeHTTP(w, r)
			return
		}
		u.rewriteHost(r)
		guarded.ServeHTTP(w, r)
	})
}

// rewriteHost gives a request that was sent to an upstream's own name the path it
// has under this server's address.
func (u *Upstream) rewriteHost(r *http.Request) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "registry-1.docker.io" {
		host = "docker.io"
	}
	if !slices.Contains(u.opts.Hosts, host) {
		return
	}
	switch rest, isV2 := strings.CutPrefix(r.URL.Path, "/v2/"); {
	case isV2 && rest != "":
		r.URL.Path = "/v2/" + host + "/" + rest
	case !isV2 && r.URL.Path != "/v2" && !strings.HasPrefix(r.URL.Path, blobsPath):
		r.URL.Path = filesPath + host + r.URL.Path
	default:
		return
	}
	r.URL.RawPath = ""
}
