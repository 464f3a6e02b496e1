package harbor

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/health"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/systeminfo"
)

// The oldest Harbor that naru works with.
const (
	MinMajor = 2
	MinMinor = 10
)

// VersionError says that a Harbor is older than what naru works with, or says nothing
// that can be read.
type VersionError struct{ Version string }

func (e *VersionError) Error() string {
	if e.Version == "" {
		return "checking the version of Harbor: it does not say one, as to anybody who is not logged in"
	}
	return fmt.Sprintf("checking the version of Harbor: it is %s, want %d.%d or later", e.Version, MinMajor, MinMinor)
}

// UnhealthyError lists the components of a Harbor that do not work.
type UnhealthyError struct{ Components []Component }

func (e *UnhealthyError) Error() string {
	var list []string
	for _, c := range e.Components {
		list = append(list, strings.TrimSuffix(fmt.Sprintf("%s (%s)", c.Name, c.Error), " ()"))
	}
	return "asking Harbor for its health: not well are " + strings.Join(list, ", ")
}

// Component is a part of Harbor and how it is.
type Component struct {
	Name    string `json:"name"`
	Healthy bool   `json:"healthy"`
	Error   string `json:"error,omitempty"`
}

// Info is what a Harbor says of itself.
type Info struct {
	Version string `json:"version"`
	// ExternalURL is where it tells clients to come for tokens.
	ExternalURL string `json:"externalURL"`
	ReadOnly    bool   `json:"readOnly"`
	// ProjectCreation is who may create projects: "everyone" or "adminonly".
	ProjectCreation string      `json:"projectCreation"`
	Components      []Component `json:"components"`
}

// Check asks Harbor for its version and health. The error is a *VersionError, an
// *UnhealthyError or an *Error; with the first two the Info is returned too.
func (c *Client) Check(ctx context.Context) (*Info, error) {
	components, err := c.Health(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := c.api.Systeminfo.GetSystemInfo(ctx, systeminfo.NewGetSystemInfoParamsWithContext(ctx))
	if err != nil {
		return nil, failure("asking Harbor for its version", "", err)
	}
	p := resp.Payload
	info := &Info{
		Version: deref(p.HarborVersion), ExternalURL: deref(p.ExternalURL), ReadOnly: deref(p.ReadOnly),
		ProjectCreation: deref(p.ProjectCreationRestriction), Components: components,
	}
	if !supported(info.Version) {
		return info, &VersionError{Version: info.Version}
	}
	var ill []Component
	for _, component := range components {
		if !component.Healthy {
			ill = append(ill, component)
		}
	}
	if len(ill) > 0 {
		return info, &UnhealthyError{Components: ill}
	}
	return info, nil
}

// Health asks for the state of every component. It needs no login. A component that
// is ill is no error.
func (c *Client) Health(ctx context.Context) ([]Component, error) {
	resp, err := c.api.Health.GetHealth(ctx, health.NewGetHealthParamsWithContext(ctx))
	if err != nil {
		return nil, failure("asking Harbor for its health", "", err)
	}
	components := make([]Component, 0, len(resp.Payload.Components))
	for _, p := range resp.Payload.Components {
		components = append(components, Component{Name: p.Name, Healthy: p.Status == "healthy", Error: p.Error})
	}
	return components, nil
}

var versionRE = regexp.MustCompile(`^v?(\d+)\.(\d+)\.`)

func supported(version string) bool {
	m := versionRE.FindStringSubmatch(version)
	if m == nil {
		return false
	}
	major, errMajor := strconv.Atoi(m[1])
	minor, errMinor := strconv.Atoi(m[2])
	if errMajor != nil || errMinor != nil {
		return false
	}
	return major > MinMajor || major == MinMajor && minor >= MinMinor
}

// deref is what p points to, or the zero value.
func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
