package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"naru/internal/build"
	"naru/internal/cli"
	"naru/internal/survey"
	"naru/manifest"
	"naru/pkg/scan/trivy"
)

// scanFlags say how content is scanned and judged; build and scan share them.
type scanFlags struct {
	policy   string
	vex      []string
	database string
	java     string
	sbom     []string
}

// add adds the flags; places says where a database may come from.
func (f *scanFlags) add(cmd *cobra.Command, places string) {
	fl := cmd.Flags()
	fl.StringVar(&f.policy, "policy", "", "scan policy (kind: ScanPolicy) that judges; without one the verdict is \"not judged\"")
	fl.StringArrayVar(&f.vex, "vex", nil, "OpenVEX document that rules findings out; it is carried (may be repeated)")
	fl.StringVar(&f.database, "db", "", "vulnerability database: "+places)
	fl.StringVar(&f.java, "java-db", "", "Java database, likewise; none leaves Java archives out")
	fl.StringSliceVar(&f.sbom, "sbom", nil, "further SBOM formats beside CycloneDX: spdx")
	_ = cmd.MarkFlagFilename("policy", "yaml", "yml")
	_ = cmd.MarkFlagFilename("vex", "json")
	_ = cmd.RegisterFlagCompletionFunc("sbom", cobra.FixedCompletions([]string{"spdx"}, cobra.ShellCompDirectiveNoFileComp))
}

// options reads the documents that the flags name.
func (f *scanFlags) options() (build.ScanOptions, error) {
	o := build.ScanOptions{Scanner: trivy.New(), Database: f.database, Java: f.java}
	for _, s := range f.sbom {
		if s != "spdx" {
			return o, cli.Usagef("--sbom %q: want spdx", s)
		}
		o.SPDX = true
	}
	if f.policy != "" {
		data, err := os.ReadFile(f.policy)
		if err != nil {
			return o, fmt.Errorf("reading the policy: %w", err)
		}
		if o.Policy, err = manifest.DecodeScanPolicy(f.policy, data); err != nil {
			return o, err
		}
	}
	for _, name := range f.vex {
		data, err := os.ReadFile(name)
		if err != nil {
			return o, fmt.Errorf("reading a VEX document: %w", err)
		}
		o.VEX = append(o.VEX, survey.Document{Name: name, Data: data})
	}
	return o, nil
}
