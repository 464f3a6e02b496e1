package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// works holds the cluster to what it is for.
func (w *world) works(ctx context.Context) (string, error) {
	took, err := within(ctx, 2*time.Minute, func(ctx context.Context) error { return w.healthy(ctx, w.site) })
	return fmt.Sprintf("all of it after %s", seconds(took)), err
}

// applyFile applies manifests with kubectl.
func (w *world) applyFile(ctx context.Context, text string) error {
	file := w.path("apply.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	_, err := w.kubectl(ctx, "apply", "-f", file)
	return err
}

// healthy checks that the nodes of s are Ready, that DNS and the application run, and
// that services are reached: by address and name, from a pod on every node, and
// at every node's port from outside.
func (w *world) healthy(ctx context.Context, s site) error {
	for _, check := range []func(context.Context, site) error{w.checkNodes, w.checkPods, w.checkService, w.checkNodePort} {
		if err := check(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// checkNodes wants the nodes of s, and no others, to be there and Ready.
func (w *world) checkNodes(ctx context.Context, s site) error {
	out, err := w.kubectl(ctx, "get", "nodes", "-o", `jsonpath={range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
	if err != nil {
		return err
	}
	var have []string
	for line := range strings.Lines(out) {
		name, ready, _ := strings.Cut(strings.TrimSpace(line), "=")
		if ready != "True" {
			return fmt.Errorf("node %s: Ready is %s", name, ready)
		}
		have = append(have, name)
	}
	slices.Sort(have)
	if !slices.Equal(have, s.nodes()) {
		return fmt.Errorf("nodes are %v, want %v", have, s.nodes())
	}
	return nil
}

// pod is what is read of a pod.
type pod struct {
	Metadata struct{ Name, Namespace string }
	Spec     struct{ NodeName string }
	Status   struct {
		Phase      string
		Conditions []struct{ Type, Status string }
	}
}

func (p pod) ready() bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c struct{ Type, Status string }) bool { return c.Type == "Ready" && c.Status == "True" })
}

func (w *world) pods(ctx context.Context, args ...string) ([]pod, error) {
	out, err := w.kubectl(ctx, append([]string{"get", "pods", "-o", "json"}, args...)...)
	if err != nil {
		return nil, err
	}
	var list struct{ Items []pod }
	return list.Items, json.Unmarshal([]byte(out), &list)
}

// checkPods wants every pod ready, the application and flannel on every node, and
// CoreDNS twice.
func (w *world) checkPods(ctx context.Context, s site) error {
	pods, err := w.pods(ctx, "-A")
	if err != nil {
		return err
	}
	on := map[string][]string{}
	for _, p := range pods {
		if p.Status.Phase == "Succeeded" {
			continue
		}
		if !p.ready() {
			return fmt.Errorf("pod %s/%s on %s is %s and not ready", p.Metadata.Namespace, p.Metadata.Name, p.Spec.NodeName, p.Status.Phase)
		}
		for _, app := range []string{"hello-", "kube-flannel-ds-", "kube-proxy-", "coredns-"} {
			if strings.HasPrefix(p.Metadata.Name, app) {
				on[app] = append(on[app], p.Spec.NodeName)
			}
		}
	}
	for _, app := range []string{"hello-", "kube-flannel-ds-", "kube-proxy-"} {
		have := on[app]
		slices.Sort(have)
		if !slices.Equal(have, s.nodes()) {
			return fmt.Errorf("%s* runs on %v, want %v", app, have, s.nodes())
		}
	}
	if len(on["coredns-"]) < 2 {
		return fmt.Errorf("CoreDNS runs on %v, want two", on["coredns-"])
	}
	return nil
}

// checkService asks the application by its service's address and by its name, from a
// pod on every node, and wants answers of several pods.
func (w *world) checkService(ctx context.Context, _ site) error {
	address, err := w.kubectl(ctx, "-n", "hello", "get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}")
	if err != nil {
		return err
	}
	clients, err := w.pods(ctx, "-n", "hello", "-l", "app=hello")
	if err != nil {
		return err
	}
	for _, c := range clients {
		out, err := w.kubectl(ctx, "-n", "hello", "exec", c.Metadata.Name, "--",
			"/usr/local/bin/hello", "ask", "10", "http://"+address+"/", "http://hello.hello.svc.cluster.local/")
		if err != nil {
			return fmt.Errorf("asking from %s: %w", c.Spec.NodeName, err)
		}
		answers := map[string]bool{}
		for line := range strings.Lines(out) {
			answers[line] = true
		}
		if len(answers) < 2 {
			return fmt.Errorf("from %s only one pod answers: %s", c.Spec.NodeName, out)
		}
	}
	return nil
}

// checkNodePort asks at every node's port, from the segment.
func (w *world) checkNodePort(ctx context.Context, s site) error {
	for _, h := range s.hosts {
		if !slices.Contains(s.nodes(), h.name) {
			continue
		}
		r, err := w.exec(w.lab.Command(ctx, "curl", "-sS", "--max-time", "5", "http://"+h.addr+":30080/"))
		if err != nil {
			return err
		}
		if !strings.HasPrefix(r.stdout, "hello from ") {
			return fmt.Errorf("node port of %s: %s", h.name, r.all())
		}
	}
	return nil
}

// egress wants that nothing left the segment, and that hosts asked for no names
// outside: names of the lab's domain are none that anybody knows.
func (w *world) egress(ctx context.Context) (string, error) {
	e, err := w.lab.Egress(ctx)
	if err != nil {
		return "", err
	}
	f, err := os.Open(w.lab.NamesLog())
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(f)
	if err != nil {
		return "", err
	}
	asked := map[string]int{}
	for line := range strings.Lines(string(data)) {
		if _, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			asked[name]++
		}
	}
	if e.Packets != 0 {
		return "", fmt.Errorf("%d packets to addresses outside: %s; names asked: %v", e.Packets, strings.Join(e.Pairs, ", "), asked)
	}
	return fmt.Sprintf("0 packets to addresses outside; names asked and refused: %v", asked), nil
}
