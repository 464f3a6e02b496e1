package hosts

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

//go:embed segment.nft
var segmentRules string

// namespace is the lab's network namespace.
func (l *Lab) namespace() string { return "naru-" + l.Name }

func (l *Lab) nsFile() string { return "/run/netns/" + l.namespace() }

// Command is a command that runs on the segment, as a machine with the
// segment's own address would run it. The caller starts it.
func (l *Lab) Command(ctx context.Context, argv ...string) *exec.Cmd {
	// Not "ip netns exec", which mounts /sys anew and hides the cgroups.
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + l.nsFile(), "--"}, argv...)...)
}

// startSegment makes the namespace with a bridge that has no uplink, and rules
// that count and drop what would leave it.
func (l *Lab) startSegment(ctx context.Context) error {
	ns := l.namespace()
	for _, args := range [][]string{
		{"netns", "add", ns},
		{"-n", ns, "link", "set", "lo", "up"},
		{"-n", ns, "link", "add", "br0", "type", "bridge"},
		{"-n", ns, "addr", "add", Gateway + "/24", "dev", "br0"},
		{"-n", ns, "link", "set", "br0", "up"},
	} {
		if _, err := run(ctx, "ip", args...); err != nil {
			return err
		}
	}
	nft := l.Command(ctx, "nft", "-f", "-")
	nft.Stdin = strings.NewReader(segmentRules)
	if _, err := runCmd(nft); err != nil {
		return err
	}
	return l.startNames(ctx)
}

// startNames starts what refuses the names that hosts ask for. It outlives this
// process.
func (l *Lab) startNames(ctx context.Context) error {
	program := l.program
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(l.NamesLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	// The folder as an argument is how the process is known again.
	cmd := l.Command(context.WithoutCancel(ctx), program, "names", "-addr", Gateway+":53", "-for", l.dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // no zombie while this process lives
	return os.WriteFile(filepath.Join(l.dir, "names.pid"), fmt.Appendf(nil, "%d\n", cmd.Process.Pid), 0o644)
}

func (l *Lab) stopSegment(ctx context.Context) error {
	if pid, err := readProcess(filepath.Join(l.dir, "names.pid"), l.dir); err == nil {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	if _, err := os.Stat(l.nsFile()); os.IsNotExist(err) {
		return nil
	}
	_, err := run(ctx, "ip", "netns", "del", l.namespace())
	return err
}

// Egress is what the segment saw of packets to addresses that are not its own.
type Egress struct {
	// Packets dropped since the lab was started.
	Packets int64
	// Pairs are "source > destination" of those packets.
	Pairs []string
	// Questions were asked over DNS, refused, and written to NamesLog.
	Questions int64
}

// Egress reads the counters.
func (l *Lab) Egress(ctx context.Context) (Egress, error) {
	var e Egress
	out, err := runCmd(l.Command(ctx, "nft", "-j", "list", "table", "bridge", "airgap"))
	if err != nil {
		return e, fmt.Errorf("reading the segment's counters: %w", err)
	}
	var doc struct {
		Nftables []struct {
			Counter *struct {
				Name    string
				Packets int64
			}
			Set *struct {
				Name string
				Elem []struct{ Concat []string }
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		return e, fmt.Errorf("reading the segment's counters: %w", err)
	}
	found := 0
	for _, n := range doc.Nftables {
		switch {
		case n.Counter != nil && n.Counter.Name == "egress":
			e.Packets = n.Counter.Packets
			found++
		case n.Counter != nil && n.Counter.Name == "names":
			e.Questions = n.Counter.Packets
			found++
		case n.Set != nil:
			for _, elem := range n.Set.Elem {
				e.Pairs = append(e.Pairs, strings.Join(elem.Concat, " > "))
			}
		}
	}
	if found != 2 {
		return e, fmt.Errorf("reading the segment's counters: found %d of 2", found)
	}
	return e, nil
}

// NamesLog is the file that names asked over DNS are written to.
func (l *Lab) NamesLog() string { return filepath.Join(l.dir, "names.log") }
