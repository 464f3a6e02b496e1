//go:build !goexperiment.jsonv2

package trivy

import (
	"context"
	"fmt"

	"naru/pkg/scan"
)

// Available tells whether this program was built with the scanner.
const Available = false

// New is a scanner whose scans are scan.ErrNoScanner.
func New() scan.Scanner { return none{} }

type none struct{}

func (none) Name() string { return name }

func (none) Scan(context.Context, []scan.Target, scan.Options) (*scan.Result, error) {
	return nil, fmt.Errorf("scanning: %w", scan.ErrNoScanner)
}
