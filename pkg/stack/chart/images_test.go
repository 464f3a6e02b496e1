package chart_test

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"naru/manifest"
	"naru/pkg/stack/chart"
)

// find lists "field ref" of what is found in objects.
func find(t *testing.T, objects string) []string {
	t.Helper()
	parsed, err := chart.ParseObjects("test.yaml", []byte(objects))
	if err != nil {
		t.Fatal(err)
	}
	hits, err := chart.Images("", parsed)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, h := range hits {
		out = append(out, h.Field+" "+h.Ref.String())
	}
	slices.Sort(out)
	return out
}

func TestImagesFound(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString([]byte("[runner]\n  helper_image = \"gitlab/helper:v1\"\n"))
	for name, c := range map[string]struct {
		yaml string
		want []string
	}{
		"pods": {`
apiVersion: batch/v1
kind: CronJob
metadata: {name: x, annotations: {sidecar/proxyImage: "istio/proxyv2:1.2", note: "see https://quay.io/a/b:1"}}
spec:
  jobTemplate:
    spec:
      template:
        spec:
          initContainers: [{name: a, image: busybox}]
          containers:
            - name: b
              image: grafana/grafana:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
              args: ["--reloader=quay.io/r/r:1", "--helper-image", "alpine:3", "--listen=0.0.0.0:8080"]
              env: [{name: RELATED_IMAGE_X, value: "envoy:1"}, {name: UPSTREAM, value: "web.default.svc:80"}]
          ephemeralContainers: [{name: c, image: "ghcr.io/d/d:1"}]
          volumes: [{name: v, image: {reference: "quay.io/v/v:1"}}]
`, []string{
			"metadata.annotations[sidecar/proxyImage] docker.io/istio/proxyv2:1.2",
			"spec.jobTemplate.spec.template.spec.containers[0].args[0] quay.io/r/r:1",
			"spec.jobTemplate.spec.template.spec.containers[0].args[2] docker.io/library/alpine:3",
			"spec.jobTemplate.spec.template.spec.containers[0].env[0].value docker.io/library/envoy:1",
			"spec.jobTemplate.spec.template.spec.containers[0].image docker.io/grafana/grafana:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
			"spec.jobTemplate.spec.template.spec.ephemeralContainers[0].image ghcr.io/d/d:1",
			"spec.jobTemplate.spec.template.spec.initContainers[0].image docker.io/library/busybox:latest",
			"spec.jobTemplate.spec.template.spec.volumes[0].image.reference quay.io/v/v:1",
		}},
		"config": {`
apiVersion: v1
kind: ConfigMap
metadata: {name: x}
data:
  a.yaml: |
    # image: quay.io/comment/comment:1
    sidecar: {image: "quay.io/s/s:1", imagePullPolicy: Always}
    proxy: {image: {registry: gcr.io, repository: p/p, tag: 2}}
  b.json: '{"x":["docker.io/y/y:1"]}'
  trivy.repository: ghcr.io/aquasecurity/trivy
  trivy.tag: "0.60.0"
  script: |
    #!/bin/sh
    # docker run quay.io/not/this:1
    docker run quay.io/but/this:1 http://x/y:1
  helper-image: "busybox:1.36"
---
apiVersion: v1
kind: Secret
metadata: {name: y}
data: {config.toml: ` + secret + `, password: aGVsbG8=}
`, []string{
			"data.helper-image docker.io/library/busybox:1.36",
			"data.script:3 quay.io/but/this:1",
			"data[a.yaml].proxy.image.repository gcr.io/p/p:2",
			"data[a.yaml].sidecar.image quay.io/s/s:1",
			"data[b.json].x[0] docker.io/y/y:1",
			"data[config.toml]:2 docker.io/gitlab/helper:v1",
			"data[trivy.repository] ghcr.io/aquasecurity/trivy:0.60.0",
		}},
		"custom resources": {`
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {name: x}
spec: {image: "quay.io/p/p:v3", thanos: {image: "thanos"}, containers: [{name: extra, image: "quay.io/e/e:1"}], version: v3}
---
apiVersion: ceph.rook.io/v1
kind: CephCluster
metadata: {name: x}
spec: {cephVersion: {image: "quay.io/ceph/ceph:v19"}}
---
apiVersion: elasticsearch.k8s.elastic.co/v1
kind: Elasticsearch
metadata: {name: x}
spec: {image: "elasticsearch", nodeSets: [{podTemplate: {spec: {containers: [{name: e}], initContainers: [{name: s, image: "busybox:1"}]}}}]}
---
apiVersion: operator.knative.dev/v1beta1
kind: KnativeServing
metadata: {name: x}
spec: {registry: {override: {activator: "gcr.io/k/a:1"}}}
---
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: x}
spec: {template: {spec: {volumes: [{name: d, containerDisk: {image: "quay.io/c/fedora"}}]}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-sidecar-injector}
data: {values: '{"global":{"hub":"docker.io/istio","tag":"1.26.0","proxy":{"image":"proxyv2"}}}'}
`, []string{
			"data.values.global.proxy.image docker.io/istio/proxyv2:1.26.0",
			"spec.cephVersion.image quay.io/ceph/ceph:v19",
			"spec.containers[0].image quay.io/e/e:1",
			"spec.image docker.io/library/elasticsearch:latest",
			"spec.image quay.io/p/p:v3",
			"spec.nodeSets[0].podTemplate.spec.initContainers[0].image docker.io/library/busybox:1",
			"spec.registry.override.activator gcr.io/k/a:1",
			"spec.template.spec.volumes[0].containerDisk.image quay.io/c/fedora:latest",
			"spec.thanos.image docker.io/library/thanos:latest",
		}},
		"definitions": {`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: x}
spec: {group: a.b, names: {kind: X}, versions: [{name: v1, schema: {openAPIV3Schema: {description: "such as quay.io/a/a:1", properties: {image: {type: string, default: "quay.io/d/d:1", description: "quay.io/b/b:1"}}}}}]}
`, []string{"spec.versions[0].schema.openAPIV3Schema.properties.image.default quay.io/d/d:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, find(t, c.yaml)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestImagesMalformed(t *testing.T) {
	objects, err := chart.ParseObjects("x.yaml", []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: \"Not An Image\"}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = chart.Images("c-1", objects)
	var bad *chart.Malformed
	if !errors.As(err, &bad) || !strings.Contains(err.Error(), "c-1") || !strings.Contains(err.Error(), "x.yaml") {
		t.Errorf("got %v", err)
	}
}

func TestListed(t *testing.T) {
	for _, c := range []struct {
		found, listed string
		want          bool
	}{
		{"docker.io/busybox:1", "docker.io/library/busybox:1", true},
		{"docker.io/library/busybox:2", "docker.io/library/busybox:1", false},
		{"quay.io/a/b@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "quay.io/a/b:1", true},
		{"quay.io/a/c:1", "quay.io/a/b:1", false},
	} {
		found, _ := chart.Normalize(c.found)
		listed, err := manifest.ParseReference(c.listed)
		if err != nil {
			t.Fatal(err)
		}
		if got := chart.Listed(found, listed); got != c.want {
			t.Errorf("%s against %s: %v", c.found, c.listed, got)
		}
	}
}

// Odd documents, also as the content of a ConfigMap, end neither in a panic nor in a hit
// that names nothing.
func TestImagesInOddDocuments(t *testing.T) {
	for _, text := range []string{
		"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: x}], volumes: [{image: {reference: y}}]}\n",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: p}\ndata: {a: \"{b: [{hub: h, tag: 1, image: i}]}\", c: \"[s]\\nimage = q\"}\n",
		"apiVersion: v1\nkind: Secret\ndata: {a: YTogYjox}\n---\napiVersion: a/v1\nkind: XList\nitems: [{kind: Y, apiVersion: v1}]\n",
		"apiVersion: v1\nkind: Pod\nspec: {containers: {a: b}, initContainers: [1, [2]], volumes: x}\n",
		"apiVersion: v1\nkind: PodList\nitems: [null, 1, {}]\n", "[", "{", "a: [", "---\n---\n", "- image: a/b:1\n- x",
	} {
		objects, _ := chart.ParseObjects("x", []byte(text))
		objects = append(objects, chart.Object{Content: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"x": text}}})
		hits, err := chart.Images("", objects)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		for _, h := range hits {
			if h.Field == "" || h.Ref.Repository == "" {
				t.Errorf("%q: a hit without field or name: %+v", text, h)
			}
		}
	}
}
