// Package hosts runs bare Debian machines on this one: each is a root file system
// of its own with systemd as its first process and nothing installed but sshd,
// all on one network segment that leads nowhere else. It is what the installer is
// tried on: hosts are booted, rebooted, and lose their power.
//
// A lab is one segment with its hosts. It has a name; several labs run side by
// side with the same addresses, since each has a network namespace of its own.
// A lab's folder holds all there is to know of it, so that one process may start
// it and another use it:
//
//	lab.json          its hosts
//	key, key.pub      the SSH key that root and op@ of every host accept
//	known_hosts       the hosts' keys
//	names.log         names that hosts asked for over DNS, one a line
//	hosts/NAME/root   its root file system
//	hosts/NAME/pid    process id of its supervisor while its power is on
//	hosts/NAME/console.log
//
// It needs root, systemd-nspawn, debootstrap, nft, ip, nsenter, ssh and ssh-keygen,
// and fails where one of them is missing.
package hosts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Subnet is the segment of every lab; its first address is that of the segment
// itself, the hosts' gateway that leads nowhere.
const Subnet = "10.77.0.0/24"

// Gateway is the address of the segment.
const Gateway = "10.77.0.1"

// nameRE is what names of labs and hosts look like.
var nameRE = regexp.MustCompile(`^[a-z][a-z0-9-]{0,20}$`)

// Host is one machine of a lab.
type Host struct {
	Name string `json:"name"`
	Addr string `json:"addr"`
	// NoModules leaves out the file that makes modprobe succeed for what the kernel
	// has built in: there is then nothing to load, though all is present.
	NoModules bool `json:"noModules,omitempty"`
	// NoRoute leaves out the default route.
	NoRoute bool `json:"noRoute,omitempty"`
	// SmallVar puts /var/lib on a file system of its own, of this size in memory: "64M".
	SmallVar string `json:"smallVar,omitempty"`
}

// Default are four hosts, enough for two control planes, a worker and a load
// balancer.
func Default() []Host {
	return []Host{
		{Name: "cp1", Addr: "10.77.0.11"},
		{Name: "cp2", Addr: "10.77.0.12"},
		{Name: "w1", Addr: "10.77.0.13", NoModules: true},
		{Name: "lb1", Addr: "10.77.0.14"},
	}
}

// ParseHost reads "name=address" with options after commas: no-modules, no-route,
// small-var=64M.
func ParseHost(s string) (Host, error) {
	parts := strings.Split(s, ",")
	name, addr, ok := strings.Cut(parts[0], "=")
	h := Host{Name: name, Addr: addr}
	if !ok {
		return h, fmt.Errorf("reading host %q: want name=address", s)
	}
	for _, opt := range parts[1:] {
		key, value, _ := strings.Cut(opt, "=")
		switch key {
		case "no-modules":
			h.NoModules = true
		case "no-route":
			h.NoRoute = true
		case "small-var":
			h.SmallVar = value
		default:
			return h, fmt.Errorf("reading host %q: unknown option %q", s, key)
		}
	}
	return h, h.validate()
}

func (h Host) validate() error {
	addr, err := netip.ParseAddr(h.Addr)
	if err != nil {
		return fmt.Errorf("host %q: %w", h.Name, err)
	}
	if !nameRE.MatchString(h.Name) || !netip.MustParsePrefix(Subnet).Contains(addr) || h.Addr == Gateway {
		return fmt.Errorf("host %q at %s: want a name in lower case and an address of %s but %s", h.Name, h.Addr, Subnet, Gateway)
	}
	return nil
}

// Options configure Up.
type Options struct {
	// Name of the lab; required.
	Name string
	// State is the folder that holds the labs' folders; DefaultState if empty.
	State string
	// CacheDir keeps the root file system between runs; required.
	CacheDir string
	// Hosts to start; Default() if empty.
	Hosts []Host
	// Program is the hosts command, which goes on as the segment's name server; this
	// program if empty.
	Program string
	// OnStep, if set, is told what is being done.
	OnStep func(string)
}

// DefaultState is where labs lie unless told otherwise: their roots must be on a
// file system that overlays can be made on.
const DefaultState = "/var/lib/naru-lab"

// Lab is a segment with its hosts.
type Lab struct {
	Name  string `json:"name"`
	Hosts []Host `json:"hosts"`

	dir     string
	program string
	step    func(string)
}

// Up starts a lab of bare hosts and returns when all answer over SSH. A lab of
// that name must not be there.
func Up(ctx context.Context, opts Options) (*Lab, error) {
	if err := checkMachine(); err != nil {
		return nil, err
	}
	if opts.State == "" {
		opts.State = DefaultState
	}
	if len(opts.Hosts) == 0 {
		opts.Hosts = Default()
	}
	l := &Lab{Name: opts.Name, Hosts: opts.Hosts, dir: filepath.Join(opts.State, opts.Name), program: opts.Program, step: opts.OnStep}
	if l.step == nil {
		l.step = func(string) {}
	}
	if !nameRE.MatchString(l.Name) {
		return nil, fmt.Errorf("starting lab %q: the name must be lower-case letters, digits and -", l.Name)
	}
	if _, err := os.Stat(l.dir); err == nil {
		return nil, fmt.Errorf("starting lab %q: %s is there already: take it down first", l.Name, l.dir)
	}
	archive, err := rootArchive(ctx, opts.CacheDir, l.step)
	if err != nil {
		return nil, fmt.Errorf("starting lab %q: %w", l.Name, err)
	}
	if err := l.up(ctx, archive); err != nil {
		return nil, errors.Join(fmt.Errorf("starting lab %q: %w", l.Name, err), l.Down(context.WithoutCancel(ctx)))
	}
	return l, nil
}

func (l *Lab) up(ctx context.Context, archive string) error {
	if err := os.MkdirAll(filepath.Join(l.dir, "hosts"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(l.dir, "known_hosts"), nil, 0o644); err != nil {
		return err
	}
	if _, err := run(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "naru-lab", "-f", l.KeyFile()); err != nil {
		return err
	}
	if err := l.startSegment(ctx); err != nil {
		return err
	}
	for _, h := range l.Hosts {
		if err := h.validate(); err != nil {
			return err
		}
	}
	return l.add(ctx, archive, l.Hosts)
}

// Add starts further bare hosts in the lab.
func (l *Lab) Add(ctx context.Context, cacheDir string, hosts ...Host) error {
	for _, h := range hosts {
		if err := h.validate(); err != nil {
			return err
		}
		if _, err := l.Host(h.Name); err == nil {
			return fmt.Errorf("adding host %q: it is there already", h.Name)
		}
	}
	archive, err := rootArchive(ctx, cacheDir, l.step)
	if err != nil {
		return fmt.Errorf("adding hosts: %w", err)
	}
	l.Hosts = append(l.Hosts, hosts...)
	return l.add(ctx, archive, hosts)
}

func (l *Lab) add(ctx context.Context, archive string, hosts []Host) error {
	if err := l.save(); err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(2)
	for _, h := range hosts {
		g.Go(func() error {
			l.step("making host " + h.Name)
			if err := l.makeRoot(ctx, archive, h); err != nil {
				return fmt.Errorf("making host %q: %w", h.Name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.Name
	}
	return l.On(ctx, names...)
}

// Open returns a lab that another process started.
func Open(state, name string) (*Lab, error) {
	if state == "" {
		state = DefaultState
	}
	l := &Lab{dir: filepath.Join(state, name), step: func(string) {}}
	data, err := os.ReadFile(filepath.Join(l.dir, "lab.json"))
	if err != nil {
		return nil, fmt.Errorf("opening lab %q: %w", name, err)
	}
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("opening lab %q: %w", name, err)
	}
	return l, nil
}

func (l *Lab) save() error {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.dir, "lab.json"), append(data, '\n'), 0o644)
}

// Host returns a host of the lab by name.
func (l *Lab) Host(name string) (Host, error) {
	i := slices.IndexFunc(l.Hosts, func(h Host) bool { return h.Name == name })
	if i < 0 {
		return Host{}, fmt.Errorf("lab %q has no host %q", l.Name, name)
	}
	return l.Hosts[i], nil
}

// Dir is the lab's folder.
func (l *Lab) Dir() string { return l.dir }

// KeyFile is the private SSH key that the hosts accept.
func (l *Lab) KeyFile() string { return filepath.Join(l.dir, "key") }

// KnownHosts is the file with the hosts' keys by address.
func (l *Lab) KnownHosts() string { return filepath.Join(l.dir, "known_hosts") }

// Root is the root file system of a host as this machine sees it.
func (l *Lab) Root(host string) string { return filepath.Join(l.dir, "hosts", host, "root") }

// Down cuts the power of all hosts and removes the segment and the lab's folder.
func (l *Lab) Down(ctx context.Context) error {
	var errs []error
	entries, err := os.ReadDir(filepath.Join(l.dir, "hosts"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, e := range entries {
		errs = append(errs, l.cut(ctx, e.Name()), l.unmountVar(ctx, e.Name()))
	}
	errs = append(errs, l.stopSegment(ctx))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("taking down lab %q: %w", l.Name, err)
	}
	if err := os.RemoveAll(l.dir); err != nil {
		return fmt.Errorf("taking down lab %q: %w", l.Name, err)
	}
	return nil
}

// checkMachine says what this machine lacks.
func checkMachine() error {
	var errs []error
	if os.Geteuid() != 0 {
		errs = append(errs, errors.New("hosts need root: for namespaces, mounts and cgroups"))
	}
	for _, tool := range []string{"systemd-nspawn", "debootstrap", "nft", "ip", "nsenter", "ssh", "ssh-keygen", "tar", "zstd", "depmod"} {
		if _, err := exec.LookPath(tool); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// run runs a command and returns its output; an error carries what it said.
func run(ctx context.Context, name string, args ...string) (string, error) {
	return runCmd(exec.CommandContext(ctx, name, args...))
}

func runCmd(cmd *exec.Cmd) (string, error) {
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("running %q: %w: %s", cmd.Args, err, strings.TrimSpace(errOut.String()+"\n"+tail(out.String(), 400)))
	}
	return out.String(), nil
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }
