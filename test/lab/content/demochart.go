package content

import (
	"context"
	"errors"

	"naru/test/lab/helmchart"
)

// buildCharts publishes the demo's charts: landing over HTTP, ferry in a registry.
func (b *builder) buildCharts(context.Context) error {
	if b.recipe.Charts == "" {
		return nil
	}
	if b.pause == "" {
		return errors.New("publishing the charts: they name the pause image, which this recipe leaves out")
	}
	b.step("publishing charts")
	landing, err := helmchart.Load("landing", "@PAUSE@", b.pause)
	if err != nil {
		return err
	}
	if err := helmchart.Publish(b.w, helmchart.Repository, landing); err != nil {
		return err
	}
	ferry, err := helmchart.Load("ferry")
	if err != nil {
		return err
	}
	_, err = helmchart.Push(b.w, helmchart.Registry, ferry)
	return err
}
