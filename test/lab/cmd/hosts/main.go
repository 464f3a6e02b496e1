// Command hosts starts and stops bare hosts on an isolated segment of this
// machine, cuts their power, and runs commands on them or beside them. See package
// hosts; it needs root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"naru/test/lab/content"
	"naru/test/lab/hosts"
)

const usage = `usage: hosts [flags] COMMAND

  up [HOST...]         start a lab; a host is name=address with options after commas:
                       no-modules, no-route, small-var=64M
  add HOST...          start further hosts in it
  down                 cut the power of all hosts and remove the lab
  cut NAME...          cut the power of hosts
  on NAME...           give it back
  reboot NAME...       reboot hosts in good order
  status               show the hosts and what the segment saw leave
  ssh NAME [ARG...]    a shell on a host, or one command
  run ARG...           a command on this machine that sees the segment as its network
  names                the segment's name server (started by up)

flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && exit.Exited():
		os.Exit(exit.ExitCode())
	default:
		_, _ = fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// command is what the flags say, and what a subcommand needs.
type command struct {
	opts   hosts.Options
	stdout io.Writer
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c := command{stdout: stdout}
	if len(args) > 0 && args[0] == "names" {
		return c.names(ctx, args[1:])
	}
	fs := flag.NewFlagSet("hosts", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&c.opts.Name, "lab", "lab", "`name` of the lab")
	fs.StringVar(&c.opts.State, "state", hosts.DefaultState, "`folder` that labs lie in")
	fs.StringVar(&c.opts.CacheDir, "cache", "", "`folder` kept between runs (default: naru-lab in the user's cache)")
	fs.Usage = func() {
		_, _ = fmt.Fprint(stderr, usage)
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return err
	}
	if c.opts.CacheDir == "" {
		dir, err := content.DefaultCacheDir()
		if err != nil {
			return err
		}
		c.opts.CacheDir = dir
	}
	c.opts.OnStep = func(s string) { _, _ = fmt.Fprintln(stderr, s) }
	if fs.NArg() == 0 {
		fs.Usage()
		return errors.New("no command given")
	}
	return c.run(ctx, fs.Arg(0), fs.Args()[1:])
}

func (c *command) run(ctx context.Context, name string, args []string) error {
	if name == "up" {
		return c.up(ctx, args)
	}
	l, err := hosts.Open(c.opts.State, c.opts.Name)
	if err != nil {
		return err
	}
	switch name {
	case "add":
		list, err := parse(args)
		if err != nil {
			return err
		}
		return l.Add(ctx, c.opts.CacheDir, list...)
	case "down":
		return l.Down(ctx)
	case "cut":
		return l.Cut(ctx, args...)
	case "on":
		return l.On(ctx, args...)
	case "reboot":
		return l.Reboot(ctx, args...)
	case "status":
		return c.status(ctx, l)
	case "ssh":
		if len(args) == 0 {
			return errors.New("ssh to which host?")
		}
		cmd, err := l.SSHCommand(ctx, args[0], "", args[1:]...)
		if err != nil {
			return err
		}
		return attach(cmd)
	case "run":
		return attach(l.Command(ctx, args...))
	}
	return fmt.Errorf("unknown command %q", name)
}

func (c *command) up(ctx context.Context, args []string) error {
	list, err := parse(args)
	if err != nil {
		return err
	}
	c.opts.Hosts = list
	l, err := hosts.Up(ctx, c.opts)
	if err != nil {
		return err
	}
	return c.status(ctx, l)
}

func parse(args []string) ([]hosts.Host, error) {
	var list []hosts.Host
	for _, a := range args {
		h, err := hosts.ParseHost(a)
		if err != nil {
			return nil, err
		}
		list = append(list, h)
	}
	return list, nil
}

func (c *command) status(ctx context.Context, l *hosts.Lab) error {
	for _, h := range l.Hosts {
		state := "off"
		if l.Powered(h.Name) {
			state = "on"
		}
		if _, err := fmt.Fprintf(c.stdout, "%-8s %-14s %s\n", h.Name, h.Addr, state); err != nil {
			return err
		}
	}
	e, err := l.Egress(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "key %s\nknown hosts %s\negress %d packets, %d names asked %s\n",
		l.KeyFile(), l.KnownHosts(), e.Packets, e.Questions, strings.Join(e.Pairs, ", "))
	return err
}

func attach(cmd *exec.Cmd) error {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

// names is the name server of a segment, which up starts in its namespace.
func (c *command) names(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("names", flag.ContinueOnError)
	addr := fs.String("addr", "", "`address` to listen on")
	fs.String("for", "", "`folder` of the lab")
	if err := fs.Parse(args); err != nil {
		return err
	}
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(ctx, "udp", *addr)
	if err != nil {
		return err
	}
	return hosts.ServeNames(ctx, conn, c.stdout)
}
