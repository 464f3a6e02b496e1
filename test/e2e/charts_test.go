//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// chartVersion is that of the demo's chart landing; + is no character of tags.
const chartVersion = "0.3.0+lab"

// helm runs the real helm with a home of its own.
func helm(t *testing.T, args ...string) string {
	t.Helper()
	home := t.TempDir()
	cmd := w.command(t.Context(), "helm", args...)
	cmd.Env = append(cmd.Env, "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "XDG_DATA_HOME="+home)
	r, err := finish(cmd)
	if err != nil || r.code != 0 {
		t.Fatalf("helm %v: exit code %d, %v\n%s", args, r.code, err, r.stderr)
	}
	return string(r.stdout)
}

// helm pulls a chart from the served registry and from the chart repository, gets the
// package that the lock pins, and renders it.
func TestHelmPullsAndRendersFromServe(t *testing.T) {
	depot := startDepot(t, w.demo, "--listen", "127.0.0.1:0")
	want := ""
	for _, a := range w.list {
		if a.Kind == "chart" && strings.HasPrefix(a.Name, "landing/landing:") {
			want = strings.TrimPrefix(a.Digest, "sha256:")
		}
	}
	for how, from := range map[string][]string{
		"oci":        {"oci://" + depot.addr + "/naru/charts/landing"},
		"repository": {"landing", "--repo", "https://" + depot.addr + "/charts"},
	} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			helm(t, append(append([]string{"pull"}, from...), "--version", chartVersion, "--ca-file", depot.ca, "-d", dir)...)
			file := filepath.Join(dir, "landing-"+chartVersion+".tgz")
			if got := hashFile(t, file); want == "" || got != want {
				t.Fatalf("helm pulled sha256 %s, the lock has %q", got, want)
			}
			out := helm(t, "template", "x", file, "--include-crds", "--kube-version", "1.34.2", "--api-versions", "lab.naru.test/v1/Ferry")
			for _, part := range []string{"kind: CustomResourceDefinition", "kind: Ferry", "kind: StatefulSet", "helm.sh/hook: pre-install", "image: \"busybox:1.35\"", "@sha256:"} {
				if !strings.Contains(out, part) {
					t.Errorf("helm template lacks %q", part)
				}
			}
		})
	}
	out := helm(t, "template", "x", "oci://"+depot.addr+"/naru/charts/ferry", "--version", "0.1.0", "--ca-file", depot.ca)
	if !strings.Contains(out, "docker.io/library/busybox:1.35") {
		t.Errorf("helm template from the registry gives %s", out)
	}
}

// Discovery finds every image of a chart with sub-charts, hooks, CRDs, an image by
// digest, one in an argument, one in the environment and one in a ConfigMap; each one
// that is taken off the list fails the build by name.
func TestImageTakenOffTheListFailsTheBuild(t *testing.T) {
	var b struct{ Discovery struct{ Rendered, Found int } }
	okJSON(t, &b, "bundle", w.build(filepath.Join(t.TempDir(), "whole"), "--unsigned", "--no-installer")...)
	if b.Discovery.Rendered != 2 || b.Discovery.Found != 9 {
		t.Errorf("%d charts rendered with %d images found, want 2 with 9", b.Discovery.Rendered, b.Discovery.Found)
	}
	for component, c := range map[string]struct {
		images string
		says   []string
	}{
		"base-images": {"[]", []string{"busybox:1.35", "landing/templates/web.yaml", "landing/templates/hook.yaml", "ferry/templates/pod.yaml", "initContainers[0].image"}},
		"etcd":        {"[]", []string{"registry.k8s.io/etcd:3.5.24-0", "landing/charts/berth/templates/store.yaml", "StatefulSet"}},
		"pause":       {"[]", []string{"registry.k8s.io/pause@sha256:", "landing/templates/web.yaml"}},
		"cni-plugins": {"[{ref: \"ghcr.io/naru-lab/cni-plugins:v1.6.2\"}]", []string{"v1.6.2-tar", "env[1].value", "v1.6.2-zstd", "landing/templates/config.yaml", "data[landing.yaml].runner.image"}},
	} {
		t.Run(component, func(t *testing.T) {
			file := write(t, "less.yaml", "apiVersion: naru/v1\nkind: Content\ncomponents:\n  - {id: "+component+", version: \"1\", images: "+c.images+"}\n")
			r, err := w.run(t.Context(), "bundle", w.build(filepath.Join(t.TempDir(), "less"), "--unsigned", "--no-installer", "-f", file)...)
			if err != nil || r.code != 10 {
				t.Fatalf("exit code %d, %v, want 10\n%s", r.code, err, r.stderr)
			}
			for _, part := range append(c.says, "error: ", "hint: ", `component "landing"`, "chart landing-"+chartVersion) {
				if !strings.Contains(string(r.stderr), part) {
					t.Errorf("%q is not said in\n%s", part, r.stderr)
				}
			}
		})
	}
	if _, err := os.Stat(w.demo); err != nil {
		t.Error(err)
	}
}
