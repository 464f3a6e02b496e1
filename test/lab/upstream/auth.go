package upstream

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// guard asks for credentials as registries do.
type guard struct {
	creds map[string]Credential
	realm string

	mu     sync.Mutex
	tokens map[string]string // token -> host it is good for
}

func newGuard(creds map[string]Credential, realm string) *guard {
	return &guard{creds: creds, realm: realm, tokens: map[string]string{}}
}

// credential returns what guards host; ok is false where nothing does.
func (g *guard) credential(host string) (key string, c Credential, ok bool) {
	if c, ok = g.creds[host]; ok {
		return host, c, true
	}
	c, ok = g.creds[""]
	return "", c, ok
}

// wrap lets requests through that carry what their host asks for. Redirected
// blobs need none, as those of object stores do not.
func (g *guard) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, c, guarded := g.credential(scopeHost(r.URL.Path))
		if !guarded || strings.HasPrefix(r.URL.Path, blobsPath) || g.allowed(r, key, c) {
			next.ServeHTTP(w, r)
			return
		}
		challenge := `Basic realm="lab"`
		if c.Scheme == Bearer && !strings.HasPrefix(r.URL.Path, filesPath) {
			challenge = fmt.Sprintf("Bearer realm=%q,service=%q", g.realm, "lab:"+key)
			if p := parsePath(r.URL.Path); p.repo != "" {
				challenge += fmt.Sprintf(",scope=%q", "repository:"+p.repo+":pull")
			}
		}
		w.Header().Set("WWW-Authenticate", challenge)
		registryError(w, http.StatusUnauthorized, "UNAUTHORIZED", fmt.Errorf("authentication required"))
	})
}

func (g *guard) allowed(r *http.Request, key string, c Credential) bool {
	if c.Scheme == Bearer && !strings.HasPrefix(r.URL.Path, filesPath) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		g.mu.Lock()
		defer g.mu.Unlock()
		host, known := g.tokens[token]
		return ok && known && host == key
	}
	return c.presented(r)
}

// presented says whether r carries c as basic authentication.
func (c Credential) presented(r *http.Request) bool {
	user, pass, ok := r.BasicAuth()
	return ok && subtle.ConstantTimeCompare([]byte(user), []byte(c.Username)) == 1 &&
		subtle.ConstantTimeCompare([]byte(pass), []byte(c.Password)) == 1
}

// serveToken is the token service of the Bearer scheme.
func (g *guard) serveToken(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.URL.Query().Get("service"), "lab:")
	c, ok := g.creds[key]
	if !ok || !c.presented(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="lab"`)
		registryError(w, http.StatusUnauthorized, "UNAUTHORIZED", fmt.Errorf("wrong user or password"))
		return
	}
	token := rand.Text()
	g.mu.Lock()
	g.tokens[token] = key
	g.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "access_token": token, "expires_in": 300})
}

// scopeHost is the upstream host of a path, empty for what belongs to none.
func scopeHost(p string) string {
	for _, prefix := range []string{"/v2/", filesPath} {
		if rest, ok := strings.CutPrefix(p, prefix); ok {
			host, _, _ := strings.Cut(rest, "/")
			return host
		}
	}
	return ""
}
