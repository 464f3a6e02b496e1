package install

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"naru/internal/carried"
	"naru/internal/intake"
	"naru/internal/phase"
	"naru/internal/progress"
	"naru/manifest"
)

// ApplyOptions are those of Apply and PlanSite.
type ApplyOptions struct {
	Intake intake.Options
	// SiteFile is site.yaml; empty for this host alone.
	SiteFile string
	Select   phase.Selection
	// AllowUnscanned takes bundles that were built without a scan, as the site file may.
	AllowUnscanned bool
	// StateDir is this machine's own: site key, journal, reports, and which bundles
	// were verified.
	StateDir string
	Jobs     int
	Progress progress.Observer
}

// ApplyResult is what a run did.
type ApplyResult struct {
	Cluster string `json:"cluster"`
	// Checks that were made, and the Changes among them.
	Checks  int     `json:"checks"`
	Changed int     `json:"changed"`
	Seconds float64 `json:"seconds"`
	// Phases with their times, in the order in which they began.
	Phases []PhaseTime `json:"phases"`
	// Tasks that changed something.
	Tasks  []TaskTime `json:"tasks"`
	Report *Report    `json:"report,omitempty"`
}

// PhaseTime is how long a phase took. Phases overlap.
type PhaseTime struct {
	Name string `json:"name"`
	// Began is when, in seconds since the run's beginning.
	Began   float64 `json:"began"`
	Seconds float64 `json:"seconds"`
	Changed int     `json:"changed"`
}

// TaskTime is how long a task took.
type TaskTime struct {
	Phase   string  `json:"phase"`
	Host    string  `json:"host,omitempty"`
	What    string  `json:"what"`
	Seconds float64 `json:"seconds"`
}

// Apply brings the site's hosts to what the site file and the bundles say. It may
// be run again at any time, also after it was cut off.
func Apply(ctx context.Context, o ApplyOptions) (*ApplyResult, error) {
	c, closeAll, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	plan, err := phase.NewPlan(Phases(), c, o.Select)
	if err != nil {
		return nil, err
	}
	w := &watcher{progress: o.Progress, started: time.Now()}
	done, err := plan.Execute(ctx, phase.Options{Observer: w, Jobs: o.Jobs, BeforeWork: c.noteBegan, AfterPhase: c.note})
	r := &ApplyResult{Cluster: c.Site.Name, Phases: w.times, Seconds: time.Since(w.started).Seconds()}
	if done != nil {
		r.Checks, r.Changed = done.Tasks, done.Changed
		for _, e := range done.Events {
			if e.Outcome == phase.Changed && !e.Quiet {
				r.Tasks = append(r.Tasks, TaskTime{Phase: e.Phase, Host: e.Host, What: e.What, Seconds: e.Took.Seconds()})
			}
		}
	}
	c.mu.Lock()
	r.Report = c.report
	c.mu.Unlock()
	return r, err
}

// PlanSite looks at the site and tells what Apply would do, which it does with the
// same plan.
func PlanSite(ctx context.Context, o ApplyOptions) (*phase.Plan, []phase.Probed, error) {
	c, closeAll, err := open(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	defer closeAll()
	plan, err := phase.NewPlan(Phases(), c, o.Select)
	if err != nil {
		return nil, nil, err
	}
	o.Progress.Start("look", 0)
	if err := c.Gather(ctx); err != nil {
		return nil, nil, err
	}
	probed, err := plan.Probe(ctx)
	return plan, probed, err
}

// open reads the site, opens the bundles and makes the state. What it returns as
// second closes all of it.
func open(ctx context.Context, o ApplyOptions) (*Cluster, func(), error) {
	site, err := LoadSite(o.SiteFile)
	if err != nil {
		return nil, nil, err
	}
	site.AllowUnscanned = site.AllowUnscanned || o.AllowUnscanned
	bundles, err := intake.OpenAll(ctx, o.Intake)
	if err != nil {
		return nil, nil, err
	}
	set, err := carried.Load(ctx, bundles)
	if err != nil {
		intake.CloseAll(bundles)
		return nil, nil, err
	}
	c, err := NewCluster(site, set)
	if err != nil {
		intake.CloseAll(bundles)
		return nil, nil, err
	}
	c.Intake, c.Progress, c.StateDir, c.RecordDir = o.Intake, o.Progress, o.StateDir, filepath.Join(o.StateDir, "verified")
	return c, func() { c.Unlock(); c.Close(); intake.CloseAll(bundles) }, nil
}

// LoadSite reads a site file; without one the site is this host alone.
func LoadSite(path string) (*manifest.Site, error) {
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading the site file: %w", err)
		}
		return manifest.DecodeSite(path, data)
	}
	name, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("finding this host's name: %w", err)
	}
	name, _, _ = strings.Cut(strings.ToLower(name), ".")
	address, err := ownAddress()
	if err != nil {
		return nil, err
	}
	return manifest.LocalSite(name, address), nil
}

// ErrNoAddress is returned when this host has no address that others could reach.
var ErrNoAddress = errors.New("finding this host's address: no interface has one; write a site file")

// ownAddress is the address that this host would speak from: that of the interface
// with the default route, else the first one.
func ownAddress() (string, error) {
	// Nothing is sent: a UDP socket is connected to learn the source address.
	if conn, err := net.Dial("udp", "192.0.2.1:9"); err == nil { //nolint:noctx // no packet leaves
		defer func() { _ = conn.Close() }()
		if a, ok := conn.LocalAddr().(*net.UDPAddr); ok && a.IP.IsGlobalUnicast() {
			return a.IP.String(), nil
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("finding this host's address: %w", err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP.String(), nil
		}
	}
	return "", ErrNoAddress
}
