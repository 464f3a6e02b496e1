// Package apiserver runs a real Kubernetes API server with etcd and controllers on
// loopback, and plays the kubelet: pods get a state without any container. It is for
// testing what speaks to a cluster, in seconds and without privileges.
package apiserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// token of the administrator; the server listens on loopback alone.
const token = "lab"

// Server is a running control plane without scheduler and nodes.
type Server struct {
	Config *rest.Config
	Client kubernetes.Interface

	dir      string
	programs map[string]string
	running  []*exec.Cmd
}

// Start starts etcd, the API server and the controllers with their data in dir.
// programs are the paths of etcd, kube-apiserver and kube-controller-manager.
func Start(ctx context.Context, dir string, programs map[string]string) (*Server, error) {
	s := &Server{dir: dir, programs: programs}
	if err := s.start(ctx); err != nil {
		s.Stop()
		return nil, fmt.Errorf("starting an API server: %w", err)
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	ports, err := freePorts(ctx, 4)
	if err != nil {
		return err
	}
	etcd, peer, api := local("http", ports[0]), local("http", ports[1]), local("https", ports[2])
	if err := s.run(ctx, "etcd", "--data-dir", s.path("etcd"), "--listen-client-urls", etcd, "--advertise-client-urls", etcd,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer, "--unsafe-no-fsync"); err != nil {
		return err
	}
	if err := s.writeFiles(api); err != nil {
		return err
	}
	if err := s.run(ctx, "kube-apiserver", "--etcd-servers", etcd, "--secure-port", fmt.Sprint(ports[2]), "--bind-address", "127.0.0.1",
		"--cert-dir", s.path("certs"), "--service-cluster-ip-range", "10.96.0.0/24", "--token-auth-file", s.path("tokens.csv"),
		"--service-account-key-file", s.path("sa.pem"), "--service-account-signing-key-file", s.path("sa.pem"), "--service-account-issuer", "https://lab",
		"--authorization-mode", "RBAC", "--disable-admission-plugins", "ServiceAccount"); err != nil {
		return err
	}
	s.Config = &rest.Config{Host: api, BearerToken: token}
	if s.Client, err = s.connect(ctx); err != nil {
		return err
	}
	return s.run(ctx, "kube-controller-manager", "--kubeconfig", s.path("kubeconfig"), "--secure-port", "0", "--leader-elect=false",
		"--controllers", "deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller,job-controller,namespace-controller,garbage-collector-controller")
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// writeFiles writes the administrator's token, a kubeconfig and a key for accounts.
func (s *Server) writeFiles(api string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	kubeconfig := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: lab
contexts: [{name: lab, context: {cluster: lab, user: lab}}]
clusters: [{name: lab, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: lab, user: {token: %q}}]
`, api, s.path("certs/apiserver.crt"), token)
	return errors.Join(
		os.WriteFile(s.path("sa.pem"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600),
		os.WriteFile(s.path("tokens.csv"), []byte(token+",admin,admin,system:masters\n"), 0o600),
		os.WriteFile(s.path("kubeconfig"), []byte(kubeconfig), 0o600))
}

// connect waits until the API server is ready, trusting the certificate it made.
func (s *Server) connect(ctx context.Context) (kubernetes.Interface, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var last error
	for {
		s.Config.TLSClientConfig = rest.TLSClientConfig{CAFile: s.path("certs/apiserver.crt")}
		client, err := kubernetes.NewForConfig(s.Config)
		if err == nil {
			if _, err = client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err == nil {
				_, err = client.CoreV1().Namespaces().Get(ctx, "default", metav1.GetOptions{})
			}
		}
		if err == nil {
			return client, nil
		}
		last = err
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the API server is not ready: %w; see %s", last, s.path("kube-apiserver.log"))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// run starts a program that ends with ctx; what it says is in a file of its name.
func (s *Server) run(ctx context.Context, name string, args ...string) error {
	log, err := os.Create(s.path(name + ".log"))
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, s.programs[name], args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.running = append(s.running, cmd)
	return nil
}

// Stop ends what runs, the last started first.
func (s *Server) Stop() {
	for i := len(s.running) - 1; i >= 0; i-- {
		_ = s.running[i].Process.Kill()
		_ = s.running[i].Wait()
	}
	s.running = nil
}

func local(scheme string, port int) string { return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port) }

func freePorts(ctx context.Context, n int) ([]int, error) {
	var out []int
	for range n {
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = ln.Close() }()
		out = append(out, ln.Addr().(*net.TCPAddr).Port)
	}
	return out, nil
}
