package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// OutputFlag chooses the form of a command's result on standard output.
type OutputFlag struct{ format string }

// Add defines --output on cmd.
func (f *OutputFlag) Add(cmd *cobra.Command) {
	f.format = "text"
	formats := []string{"text", "json"}
	cmd.Flags().Var(&choice{value: &f.format, of: formats}, "output", "form of the result on standard output: text or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

// Print writes result as one JSON document, or lets text write it for people.
func (f *OutputFlag) Print(w io.Writer, result any, text func(io.Writer) error) error {
	if f.format != "json" {
		return text(w)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(result); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// Table writes rows in aligned columns under a heading.
func Table(w io.Writer, head []string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		if _, err := fmt.Fprintln(tw, strings.TrimRight(strings.Join(row, "\t"), "\t")); err != nil {
			return fmt.Errorf("writing the result: %w", err)
		}
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// choice is a flag that takes one of a few words.
type choice struct {
	value *string
	of    []string
}

func (c *choice) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}

func (c *choice) Type() string { return "word" }

func (c *choice) Set(s string) error {
	if !slices.Contains(c.of, s) {
		return fmt.Errorf("want one of %s", strings.Join(c.of, ", "))
	}
	*c.value = s
	return nil
}
