package install

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"naru/internal/journal"
	"naru/internal/phase"
	"naru/internal/sitekey"
	"naru/manifest"
	"naru/pkg/bootstrap"
)

// KindReport is the kind of a report of a run.
const KindReport = "InstallReport"

// Report says what was installed where, and from which bundles.
type Report struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Cluster    string            `json:"cluster"`
	Time       string            `json:"time"` // RFC 3339, UTC
	Bundles    []ReportBundle    `json:"bundles"`
	Kubernetes string            `json:"kubernetes"`
	Hosts      []ReportHost      `json:"hosts"`
	Components []ReportComponent `json:"components"`
	// Leaks are what the sealed phase found to lead out of the site.
	Leaks []string `json:"leaks,omitempty"`
}

// ReportBundle is one bundle with who signed it; Unverified says that nobody looked.
type ReportBundle struct {
	Bundle     string `json:"bundle"`
	Release    string `json:"release"`
	Signer     string `json:"signer,omitempty"`
	Unverified bool   `json:"unverified,omitempty"`
	Scan       string `json:"scan"`
}

// ReportHost is one host.
type ReportHost struct {
	Name    string   `json:"name"`
	Address string   `json:"address"`
	Roles   []string `json:"roles"`
	OS      string   `json:"os"`
	Kernel  string   `json:"kernel"`
	Machine string   `json:"machine"`
}

// ReportComponent is one component.
type ReportComponent struct {
	ID      string `json:"id"`
	Version string `json:"version"`
}

// reportPhase keeps the site as it was applied, and makes the report.
//
// INPUTS: all that the run knows. OUTPUTS: the site file on the first control plane,
// without which hosts that leave later could not be reset, and the digests of the bundles,
// which prune leaves alone; copies of both and of the site's authority on the other
// control planes, each of which can be the first thereby; the report, signed with the
// site key, below the state folder of the machine that runs the installer, and its
// entry in the hash-chained journal there. Rerunning is
// safe: the same site is not written again.
func reportPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "report", Title: "write down what was done", Tasks: func(c *Cluster) []phase.Task {
		tasks := []phase.Task{
			filesTask(c.keeper(), "keep the site file", func() []bootstrap.File {
				if len(c.Site.Raw) == 0 {
					return nil
				}
				return []bootstrap.File{{Path: sitePath, Mode: "0600", Content: c.Site.Raw}}
			}),
			filesTask(c.keeper(), "keep which bundles it runs from", func() []bootstrap.File {
				return []bootstrap.File{{Path: appliedPath, Mode: "0644", Content: c.applied()}}
			}),
		}
		tasks = append(tasks, each(c.controlPlanes()[1:], c.copyTasks)...)
		return append(tasks, phase.Task{What: "sign the report", Quiet: true, Do: func(context.Context) error { return c.writeReport() }})
	}}
}

// copyTasks leave a copy of what the first control plane keeps on another one.
func (c *Cluster) copyTasks(h *bootstrap.Host) []phase.Task {
	t := filesTask(h, "keep a copy of the site's state", c.stateFiles)
	write := t.Do
	t.Do = func(ctx context.Context) error {
		if err := privateState(ctx, h); err != nil {
			return err
		}
		return write(ctx)
	}
	return []phase.Task{t}
}

// applied are the digests of the run's bundles, one a line.
func (c *Cluster) applied() []byte {
	var out []byte
	for _, b := range c.Set.Bundles {
		out = fmt.Appendf(out, "%s\n", b.BundleDigest())
	}
	return out
}

// writeReport signs the report with the site key and notes it in the site's journal,
// both on the machine that runs the installer.
func (c *Cluster) writeReport() error {
	r := c.makeReport()
	key, err := sitekey.Load(filepath.Join(c.StateDir, "site"))
	if err != nil {
		return err
	}
	if key.Created {
		c.Progress.Note("site key made: carry " + filepath.Join(c.StateDir, "site", sitekey.PublicName) + " out once")
	}
	dir := filepath.Join(c.StateDir, "reports")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder of reports: %w", err)
	}
	path := filepath.Join(dir, "install-"+strings.NewReplacer(":", "", "-", "").Replace(r.Time)+".json")
	if err := key.WriteSigned(path, r); err != nil {
		return err
	}
	if _, err := journal.Append(filepath.Join(c.StateDir, "journal.jsonl"), key, "install-applied", r); err != nil {
		return err
	}
	c.setReport(r)
	return nil
}

func (c *Cluster) setReport(r *Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report = r
}

func (c *Cluster) makeReport() *Report {
	r := &Report{APIVersion: manifest.APIVersion, Kind: KindReport, Cluster: c.Site.Name, Time: time.Now().UTC().Format(time.RFC3339), Kubernetes: c.Set.Kubernetes}
	c.mu.Lock()
	r.Leaks = c.leaks
	c.mu.Unlock()
	for _, b := range c.Set.Bundles {
		r.Bundles = append(r.Bundles, ReportBundle{Bundle: b.BundleDigest().String(), Release: b.Bundle().Release, Signer: b.Signer,
			Unverified: b.Signer == "", Scan: string(b.Bundle().Scan.Verdict)})
	}
	for _, h := range c.Hosts {
		rh := ReportHost{Name: h.Name, Address: h.Address, Roles: h.Roles}
		if h.Facts != nil {
			rh.OS, rh.Kernel, rh.Machine = h.Facts.Pretty, h.Facts.Kernel, h.Facts.MachineID
		}
		r.Hosts = append(r.Hosts, rh)
	}
	for _, s := range c.Components {
		r.Components = append(r.Components, ReportComponent{ID: s.ID, Version: s.Version})
	}
	return r
}
