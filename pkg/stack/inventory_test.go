package stack

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"naru/manifest"
)

// keptInventory is an inventory as a step leaves it.
func keptInventory(t *testing.T, component, step string, items ...item) corev1.ConfigMap {
	t.Helper()
	data, err := json.Marshal(items)
	if err != nil {
		t.Fatal(err)
	}
	name := inventoryName(&work{spec: &manifest.ComponentSpec{ID: component}, step: &manifest.Step{Name: step}})
	return corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace, Labels: map[string]string{labelComponent: component, labelStep: step}},
		Data:       map[string]string{"objects": string(data), "digest": "d"},
	}
}

// serving is a client of an API server that has these inventories.
func serving(t *testing.T, inventories ...corev1.ConfigMap) kubernetes.Interface {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		path := "/api/v1/namespaces/" + Namespace + "/configmaps"
		if r.URL.Path == path {
			_ = json.NewEncoder(w).Encode(corev1.ConfigMapList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMapList"}, Items: inventories})
			return
		}
		for _, m := range inventories {
			if strings.TrimPrefix(r.URL.Path, path+"/") == m.Name {
				m.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
				_ = json.NewEncoder(w).Encode(m)
				return
			}
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(srv.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: srv.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// TestInventories: what another step has is not this one's to prune, whether it moved
// there or two steps share the name of an inventory.
func TestInventories(t *testing.T) {
	moved, gone := item{APIVersion: "v1", Kind: "Secret", Namespace: "n", Name: "moved"}, item{APIVersion: "v1", Kind: "Secret", Namespace: "n", Name: "gone"}
	s := &Stack{client: serving(t, keptInventory(t, "a-b", "c", moved, gone), keptInventory(t, "a-b", "first", moved))}
	w := &work{spec: &manifest.ComponentSpec{ID: "a-b"}, step: &manifest.Step{Name: "c"}}
	items, digest, err := s.readInventory(t.Context(), w)
	if err != nil || len(items) != 2 || digest != "d" {
		t.Fatalf("%v, %q, %v", items, digest, err)
	}
	elsewhere, err := s.others(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	if left := difference(items, elsewhere); len(left) != 1 || left[0] != gone {
		t.Errorf("to prune are %v", left)
	}
	same := &work{spec: &manifest.ComponentSpec{ID: "a"}, step: &manifest.Step{Name: "b-c"}}
	if items, _, err := s.readInventory(t.Context(), same); err == nil {
		t.Errorf("the inventory of another step was read: %v", items)
	}
}
