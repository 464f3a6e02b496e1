package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker (-X naru/internal/cli.version=...).
var version string

// Version is the version of this build: the one stamped by the linker, else what
// the Go toolchain recorded.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

// NewVersion is the version command of program.
func NewVersion(program string) *cobra.Command {
	var out OutputFlag
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			result := struct {
				Program  string `json:"program"`
				Version  string `json:"version"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{program, Version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			return out.Print(cmd.OutOrStdout(), result, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s %s %s %s\n", result.Program, result.Version, result.Go, result.Platform)
				return err
			})
		},
	}
	out.Add(cmd)
	return cmd
}
