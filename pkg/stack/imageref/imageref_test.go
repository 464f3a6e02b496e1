package imageref

import (
	"strings"
	"testing"

	"naru/manifest"
)

func TestFindReferencesTellsImagesFromLookalikes(t *testing.T) {
	const hex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for text, want := range map[string]string{
		// references
		"quay.io/prometheus/node-exporter:v1.9.1":                  "quay.io/prometheus/node-exporter:v1.9.1",
		"--config-reloader=quay.io/a/b:v1":                         "quay.io/a/b:v1",
		"run ghcr.io/a/b@sha256:" + hex + ".":                      "ghcr.io/a/b@sha256:" + hex,
		"registry.k8s.io/pause:3.10,gcr.io/x/y:1":                  "registry.k8s.io/pause:3.10 gcr.io/x/y:1",
		"localhost:5000/x:1":                                       "localhost:5000/x:1",
		"10.0.0.1:5000/x/y:latest":                                 "10.0.0.1:5000/x/y:latest",
		"docker://quay.io/kubevirt/fedora:1.2":                     "quay.io/kubevirt/fedora:1.2",
		"index.docker.io/library/busybox:1":                        "docker.io/library/busybox:1",
		"docker.io/busybox:1":                                      "docker.io/library/busybox:1",
		`{"image":"docker.elastic.co/beats/filebeat:8.1.0","n":1}`: "docker.elastic.co/beats/filebeat:8.1.0",
		"public.ecr.aws/eks/pause:3.5 quay.io/x/y:1 quay.io/x/y:1": "public.ecr.aws/eks/pause:3.5 quay.io/x/y:1",
		// lookalikes
		"https://quay.io/x/y:1":                             "",
		"https://example.org/?image=quay.io/x/y:1":          "",
		"example.org:8080":                                  "",
		"example.org:8080/metrics":                          "",
		"/var/lib/docker.io/x:1":                            "",
		"./a.b/c:1":                                         "",
		"loki.monitoring.svc.cluster.local:3100/loki/api:1": "",
		"loki.monitoring.svc:3100/push:v1":                  "",
		"node.kubernetes.io/not-ready:NoExecute":            "",
		"example.com/gpu:NoSchedule":                        "",
		"app.kubernetes.io/name:web":                        "",
		"monitoring.coreos.com/v1:Prometheus":               "",
		"networking.k8s.io/ingress:x":                       "",
		"github.com/prometheus/prometheus@v1.2.3":           "",
		"github.com/owner/repo:main":                        "",
		"git@github.com:owner/repo":                         "",
		"arn:aws:iam::123456789012:role/x":                  "",
		"busybox:1.36":                                      "",
		"grafana/grafana:10.0.0":                            "",
		"1.2.3/4:5":                                         "",
		"system:serviceaccount:x/y:z":                       "",
		"quay.io/prometheus/node-exporter":                  "",
		"kube-system/coredns:53":                            "",
		"a.b/C:1":                                           "",
		"12:30:45.123/x:1":                                  "",
		"$(HOST)/quay.io/x:1":                               "",
	} {
		if got := join2(Find(text, None)); got != want {
			t.Errorf("%q: found %q, want %q", text, got, want)
		}
	}
}

func TestFindReferencesWithImageKey(t *testing.T) {
	for text, want := range map[string]string{
		"busybox:1.36":                     "docker.io/library/busybox:1.36",
		"grafana/grafana:10.0.0":           "docker.io/grafana/grafana:10.0.0",
		"redis:7":                          "docker.io/library/redis:7",
		"quay.io/prometheus/node-exporter": "quay.io/prometheus/node-exporter",
		"imager:8080":                      "",
		"busybox":                          "",
		"IfNotPresent":                     "",
		"true":                             "",
		"/images/logo.png":                 "",
		"https://x.org/logo.png":           "",
		"the image of busybox:1.36":        "",
		"logo.png":                         "",
	} {
		if got := join2(Find(text, Image)); got != want {
			t.Errorf("%q: found %q, want %q", text, got, want)
		}
	}
}

func TestHintOf(t *testing.T) {
	for key, want := range map[string]Hint{
		"image": Image, "images": Image, "sidecarImage": Image, "RELATED_IMAGE_PROXY": Image, "--prometheus-default-base-image": Image,
		"baseimage": Image, "imageName": Image, "storage-image": Image,
		"imagePullPolicy": None, "imagePullSecrets": None, "imagepullpolicy": None, "image-gc-high-threshold": None,
		"imageRegistry": None, "image_tag": None, "imagination": None, "name": None, "": None,
	} {
		if got := HintOf(key); got != want {
			t.Errorf("%q: %v, want %v", key, got, want)
		}
	}
}

func join2(list []manifest.Reference) string {
	var out []string
	for _, r := range list {
		out = append(out, r.String())
	}
	return strings.Join(out, " ")
}

func FuzzFindReferences(f *testing.F) {
	for _, s := range []string{"0A0/0:00", "quay.io/a/b:v1", "--image=busybox:1", "docker://x.y/z:1@sha256:", "a.b/c:d e.f/g:h", "image: \"x\""} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, text string, image bool) {
		hint := None
		if image {
			hint = Image
		}
		for _, r := range Find(text, hint) {
			if r.Tag == "" && r.Digest == "" {
				if !image {
					t.Fatalf("%q: found %q without tag and digest", text, r)
				}
				continue
			}
			again, err := manifest.ParseReference(r.String())
			if err != nil || again != r {
				t.Fatalf("%q: found %q, which reads as %q, %v", text, r, again, err)
			}
			if got, ok := Normalize(r.String()); !ok || got != r {
				t.Fatalf("%q: %q is not normal: %q", text, r, got)
			}
			if r.Tag != "" && !strings.Contains(text, r.Tag) {
				t.Fatalf("%q: found tag %q, which is not there", text, r.Tag)
			}
		}
	})
}
