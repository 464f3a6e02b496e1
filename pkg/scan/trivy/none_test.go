//go:build !goexperiment.jsonv2

package trivy_test

import (
	"errors"
	"testing"

	"naru/pkg/scan"
	"naru/pkg/scan/trivy"
)

func TestWithoutScanner(t *testing.T) {
	if trivy.Available {
		t.Error("the scanner is said to be there")
	}
	if _, err := trivy.New().Scan(t.Context(), nil, scan.Options{}); !errors.Is(err, scan.ErrNoScanner) {
		t.Errorf("got %v", err)
	}
}
