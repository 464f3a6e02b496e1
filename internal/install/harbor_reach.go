package install

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"naru/internal/cli"
	"naru/manifest"
	"naru/pkg/bootstrap"
	"naru/pkg/harbor"
)

// adminUser is the administrator of a Harbor that naru deployed.
const adminUser = "admin"

// harborAdmin is the login of Harbor's administrator. The error wraps fs.ErrNotExist
// while a Harbor in the cluster has no password yet.
func (c *Cluster) harborAdmin(ctx context.Context) (HarborLogin, error) {
	h := c.Site.Harbor
	if h.Password != nil {
		password, err := h.Password.Value()
		if err != nil {
			return HarborLogin{}, err
		}
		user := h.User
		if user == "" {
			user = adminUser
		}
		return c.harborAs(ctx, user, password)
	}
	s := c.ownHarbor()
	if s == nil {
		return HarborLogin{}, fmt.Errorf("finding the password of Harbor's administrator: %w", fs.ErrNotExist)
	}
	if held, err := c.keeper().Holds(ctx, `[ -e "$1" ]`, bootstrap.KubeConfig); err != nil || !held {
		return HarborLogin{}, errors.Join(err, fmt.Errorf("finding the password of Harbor's administrator: there is no cluster yet: %w", fs.ErrNotExist))
	}
	st, err := c.stackOf(ctx, s)
	if err != nil {
		return HarborLogin{}, err
	}
	secrets, err := st.Secrets(ctx, s)
	if err != nil {
		return HarborLogin{}, err
	}
	password := secrets["adminPassword"]
	if password == "" {
		return HarborLogin{}, fmt.Errorf("finding the password of Harbor's administrator: %w", fs.ErrNotExist)
	}
	return c.harborAs(ctx, adminUser, password)
}

// harborAs is a login at the site's Harbor. It is reached from the first control plane,
// whose hosts file knows it: the machine of the installer may reach hosts by SSH alone.
func (c *Cluster) harborAs(ctx context.Context, user, password string) (HarborLogin, error) {
	transport, err := c.harborVia(ctx, c.keeper())
	if err != nil {
		return HarborLogin{}, err
	}
	return HarborLogin{URL: c.harborURL(), User: user, Password: password, UserAgent: "naru-install/" + cli.Version(), Transport: transport}, nil
}

func (c *Cluster) harborURL() string { return "https://" + c.Site.Harbor.Registry() }

// harborVia reaches Harbor through a host's own connection, and verifies its certificate
// here, by the site's authority and that of the site file.
func (c *Cluster) harborVia(ctx context.Context, h *bootstrap.Host) (http.RoundTripper, error) {
	f, ok := h.Runner.(bootstrap.Forwarder)
	if !ok {
		return nil, errors.New("reaching Harbor: the host's connection cannot carry others")
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's certificate authorities: %w", err)
	}
	if a, err := c.Authority(ctx); err == nil {
		pool.AppendCertsFromPEM(a.PEM)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ca, err := c.externalCA()
	if err != nil {
		return nil, err
	}
	pool.AppendCertsFromPEM(ca)
	return &moving{idle: harborIdle, answer: harborAnswer, next: &http.Transport{
		DialContext:           f.Dial,
		TLSClientConfig:       &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   20 * time.Second,
		ResponseHeaderTimeout: harborAnswer,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       time.Minute,
	}}, nil
}

// externalCA is the certificate that vouches for an external Harbor; nil where the site
// file names none.
func (c *Cluster) externalCA() ([]byte, error) {
	name := c.Site.Harbor.CAFile
	if name == "" || c.Site.Harbor.Mode != manifest.HarborExternal {
		return nil, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading the authority of Harbor: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("reading the authority of Harbor %q: %w", name, harbor.ErrNoCertificate)
	}
	return data, nil
}

// untrusted tells whether a certificate was refused.
func untrusted(err error) bool {
	var bad *tls.CertificateVerificationError
	return errors.As(err, &bad)
}

// ErrOtherHarbor says that a robot's login is one of another Harbor.
var ErrOtherHarbor = errors.New("the login is one of another Harbor")

// robotLogin is the login of a robot of the site's Harbor, from the first control plane.
// The error wraps fs.ErrNotExist when there is none, and ErrOtherHarbor when the site had
// another Harbor before.
func (c *Cluster) robotLogin(ctx context.Context, role harbor.Role) (*RobotLogin, error) {
	l, err := c.robotLogins().Read(ctx, role)
	if err != nil {
		return nil, err
	}
	if l.Harbor != c.harborURL() {
		return nil, fmt.Errorf("reading the login of a robot: %w: %s, not %s", ErrOtherHarbor, l.Harbor, c.harborURL())
	}
	return l, nil
}

// robotLogins are kept on the first control plane, where install harbor has them too.
func (c *Cluster) robotLogins() RobotLogins { return hostLogins{c.keeper()} }

type hostLogins struct{ host *bootstrap.Host }

// Place implements RobotLogins.
func (l hostLogins) Place(role harbor.Role) string {
	return path.Join(DefaultState, "harbor", "robots", string(role)+".json")
}

// Read implements RobotLogins.
func (l hostLogins) Read(ctx context.Context, role harbor.Role) (*RobotLogin, error) {
	name := l.Place(role)
	data, err := l.host.ReadFile(ctx, name)
	if err != nil {
		return nil, err
	}
	mode, err := l.host.Output(ctx, "stat", "-c", "%a", name)
	if err != nil {
		return nil, err
	}
	login, err := decodeRobotLogin(name, data)
	if !strings.HasSuffix(mode, "00") {
		return login, fmt.Errorf("%s: reading %q: %w", l.host.Name, name, ErrExposedLogin)
	}
	return login, err
}

// Keep implements RobotLogins.
func (l hostLogins) Keep(ctx context.Context, login RobotLogin) error {
	data, err := encodeRobotLogin(login)
	if err != nil {
		return err
	}
	name := l.Place(login.Role)
	if _, err := l.host.Script(ctx, `umask 077; install -d -m 0700 "${1%/*}"`, name); err != nil {
		return err
	}
	return l.host.Put(ctx, bootstrap.File{Path: name, Mode: "0600", Content: data})
}
