package install

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"naru/internal/sitepki"
)

// TestHarborCertificate: Harbor's pods wait for the secret that its values name; it is
// made, kept while it fits, and replaced where another authority signed it.
func TestHarborCertificate(t *testing.T) {
	kept := map[string][]byte{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		data, _ := io.ReadAll(r.Body)
		at := r.URL.Path
		if r.Method == http.MethodPost {
			var o struct{ Metadata struct{ Name string } }
			_ = json.Unmarshal(data, &o)
			at += "/" + o.Metadata.Name
		}
		switch _, there := kept[at]; {
		case r.Method == http.MethodPost && there:
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"AlreadyExists","code":409}`)
			return
		case r.Method == http.MethodGet && !there:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
			return
		case r.Method != http.MethodGet:
			kept[at] = data
		}
		_, _ = w.Write(kept[at])
	}))
	t.Cleanup(srv.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: srv.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	h := &harborCertificate{client: client, namespace: "harbor", name: "harbor-tls", host: "harbor.site.example"}
	for _, cluster := range []string{"one", "another"} {
		a, err := sitepki.New(cluster, []string{"site.example"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if holds, err := h.holds(t.Context(), a); err != nil || holds {
			t.Fatalf("before: %v, %v", holds, err)
		}
		if err := h.put(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if holds, err := h.holds(t.Context(), a); err != nil || !holds {
			t.Fatalf("after: %v, %v", holds, err)
		}
	}
	for at, data := range kept {
		if strings.HasSuffix(at, "/secrets/harbor-tls") && !strings.Contains(string(data), "kubernetes.io/tls") {
			t.Errorf("%s is %s", at, data)
		}
	}
	if len(kept) != 2 {
		t.Errorf("%d objects were made", len(kept))
	}
}
