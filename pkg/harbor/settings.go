package harbor

import (
	"context"

	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/configure"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

// AdminOnly is the value of Info.ProjectCreation where only administrators make projects.
const AdminOnly = "adminonly"

// RestrictProjects lets only administrators make projects: a robot could make one even
// without the right to. It tells whether it had to change anything.
func (c *Client) RestrictProjects(ctx context.Context) (changed bool, err error) {
	resp, err := c.api.Configure.GetConfigurations(ctx, configure.NewGetConfigurationsParamsWithContext(ctx))
	if err != nil {
		return false, failure("reading the configuration", "", err)
	}
	if item := resp.Payload.ProjectCreationRestriction; item != nil && item.Value == AdminOnly {
		return false, nil
	}
	restriction := AdminOnly
	params := configure.NewUpdateConfigurationsParamsWithContext(ctx).WithConfigurations(&models.Configurations{ProjectCreationRestriction: &restriction})
	_, err = c.api.Configure.UpdateConfigurations(ctx, params)
	return err == nil, failure("letting only administrators make projects", "", err)
}
