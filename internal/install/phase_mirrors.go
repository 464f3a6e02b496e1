package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	"naru/internal/phase"
	"naru/manifest"
	"naru/pkg/bootstrap"
	"naru/pkg/bootstrap/certsd"
	"naru/pkg/harbor"
	"naru/pkg/mirror/push"
)

// mirrorsPhase lets every node ask Harbor before the depot.
//
// INPUTS: a seeded Harbor; the login of its pull robot; the images of the bundles, and
// the registries that any node has mirrors for already, from earlier bundles. OUTPUTS: on
// each node a file for every upstream registry, with the login, which only root reads,
// one for Harbor itself, and the authority of an external Harbor; what it had of another
// Harbor is removed. containerd reads them
// at every pull and is not started again. Rerunning is safe: files are compared and
// replaced whole, and only after the node was seen to reach Harbor with the login. What
// the bootstrap wrote stays behind them, so that a pull goes on to the depot where Harbor
// fails.
func mirrorsPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "switch-mirrors", Title: "let the nodes ask Harbor first", Skip: (*Cluster).noHarbor,
		Tasks: func(c *Cluster) []phase.Task {
			m := &mirrors{c: c}
			return each(c.nodes(), func(h *bootstrap.Host) []phase.Task {
				return []phase.Task{{What: "ask Harbor for images, then the depot", Interruptible: true, Deadline: 2 * time.Minute,
					Done: func(ctx context.Context) (bool, error) { return m.hold(ctx, h) },
					Do:   func(ctx context.Context) error { return m.put(ctx, h) },
				}}
			})
		}}
}

// harborCAFile is where nodes have the authority of an external Harbor.
const harborCAFile = "/etc/naru/harbor-ca.crt"

// mirrors are the files of all nodes; what they are made of is found once in a run.
type mirrors struct {
	c *Cluster

	mu    sync.Mutex
	login *RobotLogin
	files []bootstrap.File
}

// wanted are the files, the same on every node. The error wraps fs.ErrNotExist or
// ErrOtherHarbor while there is no robot to pull with.
func (m *mirrors) wanted(ctx context.Context) ([]bootstrap.File, *RobotLogin, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files != nil {
		return m.files, m.login, nil
	}
	login, err := m.c.robotLogin(ctx, harbor.RolePull)
	if err != nil {
		return nil, nil, err
	}
	registries, err := m.c.mirrored(ctx)
	if err != nil {
		return nil, nil, err
	}
	files, err := m.c.mirrorFiles(registries, login)
	if err != nil {
		return nil, nil, err
	}
	m.files, m.login = files, login
	return files, login, nil
}

func (m *mirrors) hold(ctx context.Context, h *bootstrap.Host) (bool, error) {
	files, _, err := m.wanted(ctx)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrOtherHarbor) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	differ, err := h.Differ(ctx, files)
	if err != nil || len(differ) > 0 {
		return false, err
	}
	former, err := formerHarbor(ctx, h, files)
	return err == nil && len(former) == 0, err
}

func (m *mirrors) put(ctx context.Context, h *bootstrap.Host) error {
	files, login, err := m.wanted(ctx)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrOtherHarbor) {
		return fmt.Errorf("%w (the phase harbor makes it)", err)
	}
	if err != nil {
		return err
	}
	if err := m.c.reachesHarbor(ctx, h, login); err != nil {
		return err
	}
	if _, err := h.Ensure(ctx, files); err != nil {
		return err
	}
	former, err := formerHarbor(ctx, h, files)
	if err != nil {
		return err
	}
	return forgetHarbor(ctx, h, former)
}

// reachesHarbor logs in to Harbor from a host, by the name that containerd will use.
func (c *Cluster) reachesHarbor(ctx context.Context, h *bootstrap.Host, l *RobotLogin) error {
	transport, err := c.harborVia(ctx, h)
	if err != nil {
		return err
	}
	client, err := HarborLogin{URL: l.Harbor, User: l.User, Password: l.Secret, Transport: transport}.Client()
	if err != nil {
		return err
	}
	if err := client.Ping(ctx); err != nil {
		return fmt.Errorf("%s: reaching Harbor from there at %s: %w; its mirrors stay as they were", h.Name, l.Harbor, err)
	}
	return nil
}

// mirrorFiles are what a node has for registries, the host of each and its project.
func (c *Cluster) mirrorFiles(registries map[string]string, l *RobotLogin) ([]bootstrap.File, error) {
	ca, err := c.externalCA()
	if err != nil {
		return nil, err
	}
	var out []bootstrap.File
	steady := certsd.Steady{
		Registries: registries, Harbor: l.Harbor, Depots: c.mirrorURLs(), HarborCA: bootstrap.CAFile, DepotCA: bootstrap.CAFile, User: l.User, Secret: l.Secret,
	}
	if ca != nil {
		steady.HarborCA = harborCAFile
		out = append(out, bootstrap.File{Path: harborCAFile, Mode: "0644", Content: ca})
	}
	files, err := steady.Files()
	if err != nil {
		return nil, err
	}
	for name, data := range files {
		out = append(out, bootstrap.File{Path: path.Join(certsd.Dir, name), Mode: fmt.Sprintf("%04o", certsd.Mode), Content: data})
	}
	return out, nil
}

// parts are the errors that err joins.
func parts(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// mirrored are the registries that nodes are to ask Harbor for: those of the images of
// the run's bundles, and those that any node has such mirrors for. With an error they are
// those of the other nodes.
func (c *Cluster) mirrored(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	if c.Set != nil {
		for _, img := range c.Set.Lock.Images {
			r, err := manifest.ParseReference(img.Ref)
			if err != nil {
				return nil, err
			}
			out[r.Host] = push.Project(r.Host)
		}
	}
	var mu sync.Mutex
	err := c.onEach(ctx, func(ctx context.Context, _ int, h *bootstrap.Host) error {
		if !h.Node() {
			return nil
		}
		have, err := steadyOn(ctx, h)
		mu.Lock()
		defer mu.Unlock()
		for _, host := range have {
			out[host] = push.Project(host)
		}
		return err
	})
	return out, err
}

// steadyScript prints the folders below $1 whose file begins with $2.
const steadyScript = `for f in "$1"/*/hosts.toml; do
  [ -e "$f" ] || continue
  IFS= read -r l <"$f" || true
  if [ "$l" = "$2" ]; then f=${f%/hosts.toml}; echo "${f##*/}"; fi
done`

// steadyOn are the registries for which a node asks Harbor.
func steadyOn(ctx context.Context, h *bootstrap.Host) ([]string, error) {
	out, err := h.Script(ctx, steadyScript, certsd.Dir, certsd.Mark)
	if err != nil {
		return nil, err
	}
	var hosts []string
	for _, folder := range strings.Fields(out) {
		hosts = append(hosts, certsd.Registry(folder))
	}
	return hosts, nil
}

// depotMirrorTask lets a node ask the depot. Where the site has no Harbor, or no longer,
// it asks nothing else; where it has one the mirrors of mirrorsPhase come first.
func (c *Cluster) depotMirrorTask(h *bootstrap.Host) phase.Task {
	files := func() []bootstrap.File {
		return []bootstrap.File{bootstrap.DefaultMirror(bootstrap.CertsDir, c.mirrorURLs(), bootstrap.CAFile)}
	}
	former := func(ctx context.Context) ([]string, error) {
		if c.noHarbor() == "" {
			return nil, nil
		}
		return formerHarbor(ctx, h, nil)
	}
	return phase.Task{What: "ask the depot for every image",
		Done: func(ctx context.Context) (bool, error) {
			differ, err := h.Differ(ctx, files())
			if err != nil || len(differ) > 0 {
				return false, err
			}
			old, err := former(ctx)
			return err == nil && len(old) == 0, err
		},
		Do: func(ctx context.Context) error {
			if _, err := h.Ensure(ctx, files()); err != nil {
				return err
			}
			old, err := former(ctx)
			if err != nil {
				return err
			}
			return forgetHarbor(ctx, h, old)
		}}
}

// handOut brings a new pull robot to the nodes that ask Harbor already, before the old one
// goes. A node that cannot be given it, such as one that is off, is told of and gets it
// when the phase comes to it; until then it asks the depot. Failing for its sake would
// leave the others with the login of a robot that is removed again.
func (c *Cluster) handOut(ctx context.Context, l RobotLogin) error {
	if l.Role != harbor.RolePull {
		return nil
	}
	if _, err := c.mirrorFiles(nil, &l); err != nil {
		return err // it is the same on every node
	}
	_ = c.onEach(ctx, func(ctx context.Context, _ int, h *bootstrap.Host) error {
		if err := c.handOutTo(ctx, h, &l); err != nil && ctx.Err() == nil {
			c.Progress.Note(fmt.Sprintf("warning: %s has not got the new login for Harbor, and asks the depot until it has: %v", h.Name, shortly(err)))
		}
		return nil
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// handOutTo gives a node the login wherever it has an older one.
func (c *Cluster) handOutTo(ctx context.Context, h *bootstrap.Host, l *RobotLogin) error {
	if !h.Node() {
		return nil
	}
	have, err := steadyOn(ctx, h)
	if err != nil || len(have) == 0 {
		return err
	}
	registries := map[string]string{}
	for _, host := range have {
		registries[host] = push.Project(host)
	}
	files, err := c.mirrorFiles(registries, l)
	if err != nil {
		return err
	}
	_, err = h.Ensure(ctx, files)
	return err
}

// mirrorDrift compares the mirrors of every node with what they were last made to be.
func (c *Cluster) mirrorDrift(ctx context.Context, drift func(string, ...any)) {
	if c.Site.Harbor.Mode == manifest.HarborNone {
		return
	}
	login, err := c.robotLogin(ctx, harbor.RolePull)
	if errors.Is(err, fs.ErrNotExist) && c.Site.Harbor.Mode == manifest.HarborInCluster {
		return // the bundle may have carried no Harbor
	}
	if err != nil {
		drift("the mirrors of Harbor: %v", err)
		return
	}
	registries, asked := c.mirrored(ctx)
	for _, err := range parts(asked) { // one node that is off hides nothing of the others
		if gone := new(bootstrap.ConnectError); !errors.As(err, &gone) {
			drift("the mirrors of Harbor: %v", shortly(err))
		}
	}
	files, err := c.mirrorFiles(registries, login)
	if err != nil {
		drift("the mirrors of Harbor: %v", err)
		return
	}
	if len(registries) == 0 && asked == nil {
		drift("no node asks Harbor for images")
	}
	_ = c.onEach(ctx, func(ctx context.Context, _ int, h *bootstrap.Host) error {
		if !h.Node() {
			return nil
		}
		differ, err := h.Differ(ctx, files)
		if err != nil {
			return nil // that it cannot be reached is said elsewhere
		}
		for _, f := range differ {
			drift("%s: %s is not as it was written", h.Name, f.Path)
		}
		return nil
	})
}
