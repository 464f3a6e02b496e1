package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"naru/test/lab/hosts"
)

// addHosts adds a worker and a second load balancer to the site file.
func (w *world) addHosts(ctx context.Context) (string, error) {
	if err := w.lab.Add(ctx, w.cache, hosts.Host{Name: "w2", Addr: w2}, hosts.Host{Name: "lb2", Addr: lb2}); err != nil {
		return "", err
	}
	next := w.site.with(addedHosts()["w2"], addedHosts()["lb2"])
	took, err := w.change(ctx, next)
	if err != nil {
		return "", err
	}
	return "applied in " + seconds(took), nil
}

// addedHosts are those that addHosts adds, by name.
func addedHosts() map[string]siteHost {
	return map[string]siteHost{
		"w2":  {name: "w2", addr: w2, roles: "worker"},
		"lb2": {name: "lb2", addr: lb2, roles: "lb"},
	}
}

// change applies another site file and waits until the cluster is as it says.
func (w *world) change(ctx context.Context, next site) (time.Duration, error) {
	cmd, err := w.apply(ctx, next)
	if err != nil {
		return 0, err
	}
	r, err := w.ok(cmd)
	if err != nil {
		return 0, err
	}
	w.site = next
	_, err = within(ctx, 2*time.Minute, func(ctx context.Context) error { return w.healthy(ctx, next) })
	return r.took, err
}

// holder is the host that has the VIP.
func (w *world) holder(ctx context.Context) (string, error) {
	var found []string
	for _, h := range w.site.hosts {
		if !strings.Contains(h.roles, "lb") || !w.lab.Powered(h.name) {
			continue
		}
		out, err := w.lab.SSH(ctx, h.name, "ip", "-o", "addr")
		if err != nil {
			return "", err
		}
		if strings.Contains(out, vip+"/") {
			found = append(found, h.name)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("the VIP is on %v, want one host", found)
	}
	return found[0], nil
}

// moveVIP cuts the power of the VIP's holder: the other takes it, and the API
// answers there.
func (w *world) moveVIP(ctx context.Context) (string, error) {
	from, err := w.holder(ctx)
	if err != nil {
		return "", err
	}
	if err := w.lab.Cut(ctx, from); err != nil {
		return "", err
	}
	gone, err := within(ctx, time.Minute, func(ctx context.Context) error { return w.apiAnswers(ctx) })
	if err != nil {
		return "", err
	}
	to, err := w.holder(ctx)
	if err != nil {
		return "", err
	}
	if err := w.lab.On(ctx, from); err != nil {
		return "", err
	}
	if _, err := within(ctx, time.Minute, func(ctx context.Context) error { _, err := w.holder(ctx); return err }); err != nil {
		return "", err
	}
	if _, err := within(ctx, time.Minute, w.apiAnswers); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s -> %s, API at the VIP after %s", from, to, seconds(gone)), nil
}

// apiAnswers asks the API server at its endpoint.
func (w *world) apiAnswers(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	_, err := w.kubectl(ctx, "get", "--raw", "/readyz")
	return err
}

// removeWorker takes w2 out of the site file.
func (w *world) removeWorker(ctx context.Context) (string, error) {
	took, err := w.change(ctx, w.site.without("w2"))
	if err != nil {
		return "", err
	}
	if err := w.lab.Cut(ctx, "w2"); err != nil {
		return "", err
	}
	return "applied in " + seconds(took), nil
}

// cutControlPlane cuts the power of cp2: the API stays reachable at the endpoint, for
// reading. Two etcd members of which one is gone have no majority to write with,
// so reads that need none are what two control planes can promise.
func (w *world) cutControlPlane(ctx context.Context) (string, error) {
	if err := w.lab.Cut(ctx, "cp2"); err != nil {
		return "", err
	}
	gone, err := within(ctx, time.Minute, w.apiReads)
	if err != nil {
		return "", fmt.Errorf("the API with one of two control planes off: %w", err)
	}
	if err := w.lab.On(ctx, "cp2"); err != nil {
		return "", err
	}
	whole, err := within(ctx, 3*time.Minute, func(ctx context.Context) error { return w.healthy(ctx, w.site) })
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("API answers after %s; whole %s after power is back", seconds(gone), seconds(whole)), nil
}

// apiReads asks the API server at its endpoint for what it has in memory.
func (w *world) apiReads(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	_, err := w.kubectl(ctx, "get", "--raw", "/api/v1/nodes?resourceVersion=0")
	return err
}

// names are the site's hosts.
func (s site) names() []string {
	var out []string
	for _, h := range s.hosts {
		out = append(out, h.name)
	}
	return out
}

func (w *world) rebootAll(ctx context.Context) (string, error) {
	start := time.Now()
	if err := w.lab.Reboot(ctx, w.site.names()...); err != nil {
		return "", err
	}
	booted := time.Since(start)
	back, err := within(ctx, 4*time.Minute, func(ctx context.Context) error { return w.healthy(ctx, w.site) })
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("SSH after %s, every pod back %s later", seconds(booted), seconds(back)), nil
}

// rebootWithoutDepot cuts the power of all hosts and gives it back to all but the
// depot: what runs must not need it.
func (w *world) rebootWithoutDepot(ctx context.Context) (string, error) {
	names := w.site.names()
	if err := w.lab.Cut(ctx, names...); err != nil {
		return "", err
	}
	const depot = "lb1"
	names = slices.DeleteFunc(names, func(n string) bool { return n == depot })
	start := time.Now()
	if err := w.lab.On(ctx, names...); err != nil {
		return "", err
	}
	if _, err := within(ctx, 4*time.Minute, func(ctx context.Context) error { return w.healthy(ctx, w.site) }); err != nil {
		return "", err
	}
	back := time.Since(start)
	if err := w.lab.On(ctx, depot); err != nil {
		return "", err
	}
	return "every pod back " + seconds(back) + " after power, with the depot off", nil
}
