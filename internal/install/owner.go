package install

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"naru/pkg/bootstrap"
)

// owner is whose a machine is, as what lies on it tells.
type owner int

const (
	// ownerNone: it has no mark of naru and nothing that a Kubernetes node has. It may
	// be anybody's, and nothing on it is known to be naru's.
	ownerNone owner = iota
	// ownerSite: the site's cluster.
	ownerSite
	// ownerOther: another cluster, by its mark, its authority or a node's traces.
	ownerOther
)

// ownerOf tells whose a host is, and why where it is another's. authority is that of the
// site's cluster as kubeCA returns it, "" where it is not known: clusters may be called the
// same. Nothing is changed.
func (c *Cluster) ownerOf(ctx context.Context, h *bootstrap.Host, authority string) (owner, string, error) {
	mark, err := h.ReadFile(ctx, claimPath)
	if errors.Is(err, fs.ErrNotExist) {
		return unmarkedOwner(ctx, h)
	}
	if err != nil {
		return ownerNone, "", err
	}
	switch name := strings.TrimSpace(string(mark)); name {
	case c.Site.Name:
	case "":
		return unmarkedOwner(ctx, h)
	default:
		return ownerOther, fmt.Sprintf("it is marked as one of cluster %q", name), nil
	}
	there, err := kubeCA(ctx, h)
	if err != nil {
		return ownerNone, "", err
	}
	if there != "" && authority != "" && there != authority {
		return ownerOther, fmt.Sprintf("it is a node of another cluster that is called %q too", c.Site.Name), nil
	}
	return ownerSite, "", nil
}

// unmarkedOwner is ownerOf a host without naru's mark.
func unmarkedOwner(ctx context.Context, h *bootstrap.Host) (owner, string, error) {
	found, err := h.NodeTraces(ctx)
	if err == nil && len(found) > 0 {
		return ownerOther, "it has no mark of naru (if it is this cluster's, write the name of that to " + claimPath + " there), and is a Kubernetes node: " + strings.Join(found, " "), nil
	}
	return ownerNone, "", err
}

// standingCA is the kubeCA of the first control plane that answers and has one: those
// before it may be down, or were reset by a run that was cut off. "" where none has.
func (c *Cluster) standingCA(ctx context.Context) (string, error) {
	for _, h := range c.controlPlanes() {
		authority, err := kubeCA(ctx, h)
		if errors.As(err, new(*bootstrap.ConnectError)) {
			continue
		}
		if err != nil || authority != "" {
			return authority, err
		}
	}
	return "", nil
}

// ownerFindings finds hosts that are nodes of another cluster of the same name: apply would
// take their mark of naru's for its own, and write its authority, mirrors and names there.
func (c *Cluster) ownerFindings(ctx context.Context) ([]bootstrap.Finding, error) {
	authority, err := c.standingCA(ctx)
	if err != nil || authority == "" {
		return nil, err
	}
	found := make([][]bootstrap.Finding, len(c.Hosts))
	err = c.onEach(ctx, func(ctx context.Context, i int, h *bootstrap.Host) error {
		there, err := kubeCA(ctx, h)
		if err == nil && there != "" && there != authority {
			found[i] = []bootstrap.Finding{{
				Host: h.Name, Check: "leftovers", What: "it is a node of another cluster than the site's control planes: its authority is another one (" + kubeCAPath + ")",
				Mend: "correct its address in the site file; or, if it is to change over, run install reset on it first, with the site file of its cluster; or, where the authority was renewed, give it the new one; or, where it is left of a cluster of this site that was reset, remove that file there, and run install reset on it",
			}}
		}
		return err
	})
	return slices.Concat(found...), err
}

// kubeCA is the certificate of the authority of the cluster that a host is a node of, ""
// where it is of none. Two nodes may have it in other words around its PEM.
func kubeCA(ctx context.Context, h *bootstrap.Host) (string, error) {
	data, err := h.ReadFile(ctx, kubeCAPath)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if block, _ := pem.Decode(data); block != nil {
		data = block.Bytes
	}
	return string(data), err
}
