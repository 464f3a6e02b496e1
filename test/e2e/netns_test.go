//go:build e2e

package e2e

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sealed is a network namespace with a loopback interface and nothing else, in
// which nothing that is asked for or sent goes unseen: every address leads to the
// loopback interface, so that packets to any are counted, and every name has an
// address, given by a name server that keeps the questions.
type sealed struct {
	name string

	mu        sync.Mutex
	questions []string
}

// stranger is the address of every name.
var stranger = [4]byte{198, 51, 100, 7}

// rules count what is sent to other addresses than the depot's.
const rules = `table inet watch {
	counter strangers { }
	chain out {
		type filter hook output priority 0;
		ip daddr != 127.0.0.0/8 counter name strangers
		ip6 daddr != ::1 counter name strangers
	}
}
`

// newSealed makes a namespace for the time of the test.
func newSealed(t *testing.T) *sealed {
	t.Helper()
	n := &sealed{name: fmt.Sprintf("naru-e2e-%d", os.Getpid())}
	ok(t, "ip", "netns", "add", n.name)
	t.Cleanup(func() { n.remove(t) })
	// ip netns exec shows these files to what it runs, in the place of the host's.
	etc := filepath.Join("/etc/netns", n.name)
	if err := os.MkdirAll(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"resolv.conf":   "nameserver 127.0.0.1\noptions attempts:1 timeout:2\n",
		"hosts":         "127.0.0.1 localhost\n",
		"nsswitch.conf": "hosts: files dns\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n.ok(t, "ip", "link", "set", "lo", "up")
	n.ok(t, "ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo")
	n.ok(t, "nft", "-f", write(t, "watch.nft", rules))
	conn, err := n.listen()
	if err != nil {
		t.Fatalf("listening in the namespace: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go n.answer(conn)
	return n
}

// remove removes the namespace and its files.
func (n *sealed) remove(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	defer cancel()
	if _, err := w.must(ctx, "ip", "netns", "del", n.name); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(filepath.Join("/etc/netns", n.name)); err != nil {
		t.Error(err)
	}
}

// command is a program that will run in the namespace.
func (n *sealed) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return w.command(ctx, "ip", append([]string{"netns", "exec", n.name, w.program(name)}, args...)...)
}

// ok runs a program in the namespace that has to succeed.
func (n *sealed) ok(t *testing.T, name string, args ...string) result {
	t.Helper()
	r, err := finish(n.command(t.Context(), name, args...))
	if err != nil || r.code != 0 {
		t.Fatalf("%s %v: exit code %d, %v\n%s%s", name, args, r.code, err, r.stdout, r.stderr)
	}
	return r
}

// strangers is how many packets were sent to anybody but this host so far.
func (n *sealed) strangers(t *testing.T) int {
	t.Helper()
	var list struct {
		Nftables []struct {
			Counter *struct{ Packets int }
		}
	}
	if err := json.Unmarshal(n.ok(t, "nft", "-j", "list", "counters").stdout, &list); err != nil {
		t.Fatal(err)
	}
	for _, item := range list.Nftables {
		if item.Counter != nil {
			return item.Counter.Packets
		}
	}
	t.Fatal("nft lists no counter")
	return 0
}

// listen opens the name server's socket inside the namespace.
func (n *sealed) listen() (conn net.PacketConn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		var ns *os.File
		if ns, err = os.Open(filepath.Join("/run/netns", n.name)); err != nil {
			return
		}
		defer func() { err = errors.Join(err, ns.Close()) }()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		conn, err = net.ListenPacket("udp4", "127.0.0.1:53")
	}()
	<-done
	return conn, err
}

// answer answers questions until conn is closed.
func (n *sealed) answer(conn net.PacketConn) {
	buf := make([]byte, 512)
	for {
		size, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		name, end := question(buf[:size])
		if end == 0 {
			continue
		}
		n.mu.Lock()
		n.questions = append(n.questions, name)
		n.mu.Unlock()
		_, _ = conn.WriteTo(reply(buf[:end]), from)
	}
}

// question is the name that a DNS query of one question asks for, and where the
// question ends; 0 when it is none.
func question(msg []byte) (name string, end int) {
	if len(msg) < 12 || binary.BigEndian.Uint16(msg[4:]) != 1 {
		return "", 0
	}
	var labels []string
	for at := 12; at < len(msg); {
		size := int(msg[at])
		if size == 0 && at+5 <= len(msg) {
			return strings.Join(labels, "."), at + 5
		}
		if size == 0 || size > 63 || at+1+size > len(msg) {
			break
		}
		labels = append(labels, string(msg[at+1:at+1+size]))
		at += 1 + size
	}
	return "", 0
}

// reply answers a query cut off behind its question: with the stranger's address
// for an A question, with nothing for others.
func reply(query []byte) []byte {
	msg := append([]byte(nil), query...)
	binary.BigEndian.PutUint16(msg[2:], 0x8180) // an answer, recursion available
	isA := binary.BigEndian.Uint16(msg[len(msg)-4:]) == 1
	answers := uint16(0)
	if isA {
		answers = 1
		msg = append(msg, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
		msg = append(msg, stranger[:]...)
	}
	binary.BigEndian.PutUint16(msg[6:], answers)
	binary.BigEndian.PutUint32(msg[8:], 0) // no authority, no additional
	return msg
}

// asked are the questions since the last call.
func (n *sealed) asked() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := n.questions
	n.questions = nil
	return q
}
