package harbor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/robot"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

// Role is what a robot is for. Its rights are the least that the purpose needs.
type Role string

// The roles. A robot of any role covers all projects, also those made later.
const (
	// RoleSeed pushes bundles: it makes projects, pushes, reads back, and may make
	// tags immutable.
	RoleSeed Role = "seed"
	// RolePull is for the nodes' containerd: it pulls and nothing else.
	RolePull Role = "pull"
	// RoleReplicate lets another Harbor push here, or pull from here.
	RoleReplicate Role = "replicate"
)

// Roles are all roles.
func Roles() []Role { return []Role{RoleSeed, RolePull, RoleReplicate} }

// rights of a role, "resource:action".
type rights struct{ system, project []string }

func (r Role) rights() rights {
	switch r {
	case RolePull:
		return rights{project: []string{"repository:pull"}}
	case RoleReplicate:
		return rights{
			system: []string{"project:create", "project:list"},
			project: []string{
				"project:read", "repository:pull", "repository:push", "repository:read", "repository:list",
				"artifact:read", "artifact:list", "artifact:create", "tag:create", "tag:list", "accessory:list", "metadata:read",
			},
		}
	case RoleSeed:
		return rights{
			system: []string{"project:create", "project:list", "quota:list", "quota:read"},
			project: []string{
				"project:read", "repository:pull", "repository:push", "repository:read", "repository:list",
				"artifact:read", "artifact:list", "artifact:create", "tag:create", "tag:list", "accessory:list",
				"immutable-tag:list", "immutable-tag:create", "immutable-tag:update",
			},
		}
	}
	return rights{}
}

func (r rights) permissions() []*models.RobotPermission {
	access := func(list []string) []*models.Access {
		var out []*models.Access
		for _, right := range list {
			resource, action, _ := strings.Cut(right, ":")
			out = append(out, &models.Access{Resource: resource, Action: action})
		}
		return out
	}
	var out []*models.RobotPermission
	if len(r.system) > 0 {
		out = append(out, &models.RobotPermission{Kind: "system", Namespace: "/", Access: access(r.system)})
	}
	return append(out, &models.RobotPermission{Kind: "project", Namespace: "*", Access: access(r.project)})
}

// Robot is an account of a Harbor for a program. Its secret is not part of it.
type Robot struct {
	ID int64 `json:"id"`
	// Name is that to log in with, with Harbor's prefix: "robot$naru-busan-pull-1".
	Name string `json:"name"`
	// Site whose robot it is; empty for one that was made before names told of it.
	Site     string `json:"site,omitempty"`
	Role     Role   `json:"role"`
	Disabled bool   `json:"disabled,omitempty"`
	// Created and Expires are RFC 3339, UTC; Expires is empty for one that does not.
	Created string `json:"created"`
	Expires string `json:"expires,omitempty"`
}

// Robots lists naru's robots, those of every site, older ones first. Robots of others are
// left out.
func (c *Client) Robots(ctx context.Context) ([]Robot, error) {
	var out []Robot
	err := paged(func(page, size int64) (int, error) {
		params := robot.NewListRobotParamsWithContext(ctx)
		params.Page, params.PageSize = &page, &size
		resp, err := c.api.Robot.ListRobot(ctx, params)
		if err != nil {
			return 0, failure("listing robots", "", err)
		}
		for _, r := range resp.Payload {
			if name, ok := ParseRobotName(r.Name); ok {
				out = append(out, newRobot(r, name))
			}
		}
		return len(resp.Payload), nil
	})
	slices.SortFunc(out, func(a, b Robot) int { return int(a.ID - b.ID) })
	return out, err
}

func newRobot(r *models.Robot, name RobotName) Robot {
	out := Robot{
		ID: r.ID, Name: r.Name, Site: name.Site, Role: name.Role, Disabled: r.Disable,
		Created: time.Time(r.CreationTime).UTC().Format(time.RFC3339),
	}
	if r.ExpiresAt > 0 {
		out.Expires = time.Unix(r.ExpiresAt, 0).UTC().Format(time.RFC3339)
	}
	return out
}

// Never is the life of a robot that does not expire.
const Never = -1

// RobotRequest is a robot to make.
type RobotRequest struct {
	// Name is that of the robot, of a site for which ValidSite holds.
	Name RobotName
	// Days is how long it lives; Never for one that does not expire.
	Days int64
	// Keep is given the robot's name and secret, once. What it fails with ends the
	// making, and the robot is removed.
	Keep func(ctx context.Context, name, secret string) error
}

// MakeRobot makes a robot and has its secret kept.
func (c *Client) MakeRobot(ctx context.Context, req RobotRequest) (*Robot, error) {
	name := req.Name.String()
	create := &models.RobotCreate{
		Name: name, Level: "system", Duration: req.Days, Permissions: req.Name.Role.rights().permissions(),
		Description: "made by naru install",
	}
	resp, err := c.api.Robot.CreateRobot(ctx, robot.NewCreateRobotParamsWithContext(ctx).WithRobot(create))
	if err != nil {
		return nil, failure("making robot", name, err)
	}
	made := &Robot{
		ID: resp.Payload.ID, Name: resp.Payload.Name, Site: req.Name.Site, Role: req.Name.Role,
		Created: time.Time(resp.Payload.CreationTime).UTC().Format(time.RFC3339),
	}
	if at := resp.Payload.ExpiresAt; at > 0 {
		made.Expires = time.Unix(at, 0).UTC().Format(time.RFC3339)
	}
	if err := req.Keep(ctx, resp.Payload.Name, resp.Payload.Secret); err != nil {
		// What nobody knows the secret of is of no use, whatever became of ctx.
		return nil, errors.Join(fmt.Errorf("keeping the secret of robot %q: %w", made.Name, err), c.DeleteRobot(context.WithoutCancel(ctx), *made))
	}
	return made, nil
}

// DeleteRobot removes a robot. One that is gone is no error.
func (c *Client) DeleteRobot(ctx context.Context, r Robot) error {
	_, err := c.api.Robot.DeleteRobot(ctx, robot.NewDeleteRobotParamsWithContext(ctx).WithRobotID(r.ID))
	if err = failure("removing robot", r.Name, err); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
