package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"naru/manifest"
	"naru/pkg/bootstrap"
)

// kubectl runs kubectl on the first control plane against its own API server, which
// needs neither the load balancer nor a way from here to the cluster.
func (c *Cluster) kubectl(ctx context.Context, args ...string) (string, error) {
	h := c.keeper()
	argv := append([]string{bootstrap.BinDir + "/kubectl", "--kubeconfig", bootstrap.KubeConfig, "--server",
		"https://" + net.JoinHostPort(h.Address, strconv.Itoa(manifest.APIPort)), "--request-timeout", "30s"}, args...)
	return h.Output(ctx, argv...)
}

// Node is what is known of a node of the cluster.
type Node struct {
	Name, Address string
	Ready         bool
	// Heard tells that the cluster hears from its kubelet, ready or not.
	Heard bool
	// Reason why it is not ready.
	Reason         string
	Kubelet        string
	ControlPlane   bool
	Unschedulable  bool
	Labels         map[string]string
	Taints         []bootstrap.Taint
	ContainerState string
}

// kubeNodes lists the cluster's nodes.
func (c *Cluster) kubeNodes(ctx context.Context) ([]Node, error) {
	out, err := c.kubectl(ctx, "get", "nodes", "-o", "json")
	if err != nil {
		return nil, fmt.Errorf("listing the nodes: %w", err)
	}
	var list struct {
		Items []struct {
			Metadata struct {
				Name   string
				Labels map[string]string
			}
			Spec struct {
				Unschedulable bool
				Taints        []bootstrap.Taint
			}
			Status struct {
				Conditions []struct{ Type, Status, Message string }
				Addresses  []struct{ Type, Address string }
				NodeInfo   struct{ KubeletVersion, ContainerRuntimeVersion string }
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("listing the nodes: %w", err)
	}
	var nodes []Node
	for _, i := range list.Items {
		n := Node{Name: i.Metadata.Name, Labels: i.Metadata.Labels, Taints: i.Spec.Taints, Unschedulable: i.Spec.Unschedulable,
			Kubelet: strings.TrimPrefix(i.Status.NodeInfo.KubeletVersion, "v"), ContainerState: i.Status.NodeInfo.ContainerRuntimeVersion}
		_, n.ControlPlane = n.Labels["node-role.kubernetes.io/control-plane"]
		for _, cond := range i.Status.Conditions {
			if cond.Type == "Ready" {
				n.Ready, n.Heard, n.Reason = cond.Status == "True", cond.Status != "Unknown", cond.Message
			}
		}
		for _, a := range i.Status.Addresses {
			if a.Type == "InternalIP" {
				n.Address = a.Address
			}
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// forget takes a host's node and etcd member out of the cluster, where they are.
func (c *Cluster) forget(ctx context.Context, name, address string) error {
	if err := c.removeMember(ctx, name, address); err != nil {
		return err
	}
	_, err := c.kubectl(ctx, "delete", "node", name, "--ignore-not-found", "--wait=false")
	return err
}

// drain moves what runs on a node elsewhere.
func (c *Cluster) drain(ctx context.Context, name string) error {
	h := c.keeper()
	argv := []string{bootstrap.BinDir + "/kubectl", "--kubeconfig", bootstrap.KubeConfig, "--server", "https://" + net.JoinHostPort(h.Address, strconv.Itoa(manifest.APIPort)),
		"drain", name, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=180s"}
	if err := h.Do(ctx, argv...); err != nil {
		return fmt.Errorf("draining %q: %w", name, err)
	}
	return nil
}

// labelsHold tells whether nodes have the labels and taints of the site file.
func (c *Cluster) nodeSettings(ctx context.Context, h *bootstrap.Host) (labels, taints []string, err error) {
	nodes, err := c.kubeNodes(ctx)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(nodes, func(n Node) bool { return n.Name == h.Name })
	if i < 0 {
		return nil, nil, errors.New("the host is no node of the cluster")
	}
	want := map[string]string{}
	for k, v := range h.Labels {
		want[k] = v
	}
	if h.HasRole(manifest.RoleWorker) || !h.HasRole(manifest.RoleControlPlane) {
		want["node-role.kubernetes.io/worker"] = ""
	}
	for k, v := range want {
		if have, ok := nodes[i].Labels[k]; !ok || have != v {
			labels = append(labels, k+"="+v)
		}
	}
	for _, t := range bootstrap.Taints(h.SiteHost) {
		if !slices.Contains(nodes[i].Taints, t) {
			taints = append(taints, fmt.Sprintf("%s=%s:%s", t.Key, t.Value, t.Effect))
		}
	}
	slices.Sort(labels)
	return labels, taints, nil
}
