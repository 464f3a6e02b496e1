package harbor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/immutable"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

// What stays mutable in a project whose tags are immutable: cosign's tags, since a
// further signature goes under the tag of the first, and databases, whose tag is
// moved with every update.
const mutableTags = "sha256-*"

// mutableRepositories are those of databases, in any project.
var mutableRepositories = []string{"**/trivy-db", "**/trivy-java-db", "**/trivy-checks", "databases/**"}

// databaseNames are the last elements of names of databases.
var databaseNames = []string{"trivy-db", "trivy-java-db", "trivy-checks"}

// wantedRule makes every other tag immutable.
func wantedRule() *models.ImmutableRule {
	return &models.ImmutableRule{
		Action: "immutable", Template: "immutable_template",
		TagSelectors: []*models.ImmutableSelector{{Kind: "doublestar", Decoration: "excludes", Pattern: mutableTags}},
		ScopeSelectors: map[string][]models.ImmutableSelector{
			"repository": {{Kind: "doublestar", Decoration: "repoExcludes", Pattern: "{" + strings.Join(mutableRepositories, ",") + "}"}},
		},
	}
}

// Mutable tells whether a tag of a repository, "project/name", stays mutable in a
// project whose tags are immutable.
func Mutable(repository, tag string) bool {
	if strings.HasPrefix(tag, strings.TrimSuffix(mutableTags, "*")) {
		return true
	}
	_, name, _ := strings.Cut(repository, "/")
	if strings.HasPrefix(name, "databases/") {
		return true
	}
	last := name[strings.LastIndexByte(name, '/')+1:]
	return slices.Contains(databaseNames, last)
}

// EnsureImmutable makes the tags of a project immutable, but those of cosign and of
// databases. Rules that are there already stay. It tells whether the rule was added.
func (c *Client) EnsureImmutable(ctx context.Context, p Project) (added bool, err error) {
	named := true
	want := wantedRule()
	have, err := c.immutableRules(ctx, p)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(have, func(r *models.ImmutableRule) bool { return selectors(r) == selectors(want) })
	if i >= 0 && !have[i].Disabled {
		return false, nil
	}
	if i >= 0 {
		rule := have[i]
		rule.Disabled = false
		params := immutable.NewUpdateImmuRuleParamsWithContext(ctx).WithProjectNameOrID(p.Name).WithXIsResourceName(&named)
		_, err = c.api.Immutable.UpdateImmuRule(ctx, params.WithImmutableRuleID(rule.ID).WithImmutableRule(rule))
		return err == nil, failure("making the tags immutable in project", p.Name, err)
	}
	params := immutable.NewCreateImmuRuleParamsWithContext(ctx).WithProjectNameOrID(p.Name).WithXIsResourceName(&named)
	_, err = c.api.Immutable.CreateImmuRule(ctx, params.WithImmutableRule(want))
	return err == nil, failure("making the tags immutable in project", p.Name, err)
}

// Immutable tells whether the tags of a project are immutable by naru's rule.
func (c *Client) Immutable(ctx context.Context, p Project) (bool, error) {
	have, err := c.immutableRules(ctx, p)
	want := selectors(wantedRule())
	return slices.ContainsFunc(have, func(r *models.ImmutableRule) bool { return !r.Disabled && selectors(r) == want }), err
}

func (c *Client) immutableRules(ctx context.Context, p Project) (out []*models.ImmutableRule, err error) {
	named := true
	err = paged(func(page, size int64) (int, error) {
		params := immutable.NewListImmuRulesParamsWithContext(ctx).WithProjectNameOrID(p.Name).WithXIsResourceName(&named)
		params.Page, params.PageSize = &page, &size
		resp, err := c.api.Immutable.ListImmuRules(ctx, params)
		if err != nil {
			return 0, failure("reading the immutability rules of project", p.Name, err)
		}
		out = append(out, resp.Payload...)
		return len(resp.Payload), nil
	})
	return out, err
}

// selectors is what a rule is about, to compare.
func selectors(r *models.ImmutableRule) string {
	var parts []string
	for _, s := range r.TagSelectors {
		parts = append(parts, fmt.Sprintf("tag %s %s %s", s.Kind, s.Decoration, s.Pattern))
	}
	for scope, list := range r.ScopeSelectors {
		for _, s := range list {
			parts = append(parts, fmt.Sprintf("%s %s %s %s", scope, s.Kind, s.Decoration, s.Pattern))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, "\n")
}
