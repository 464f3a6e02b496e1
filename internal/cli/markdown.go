package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Markdown writes the reference page of a program: every command below root, with
// its synopsis, flags and examples, parents before children in the order of
// their names. The page depends on the command tree alone; hidden commands and
// flags, and those that cobra adds by itself, are left out.
func Markdown(w io.Writer, root *cobra.Command) error {
	var page strings.Builder
	fmt.Fprintf(&page, "# %s\n\nMade from the program itself by `make docs`; do not edit. Exit codes and the environment: [cli.md](../cli.md).\n", root.Name())
	commands := visible(root)
	page.WriteString("\n| command | |\n|---|---|\n")
	for _, cmd := range commands {
		fmt.Fprintf(&page, "| [`%s`](#%s) | %s |\n", cmd.CommandPath(), anchor(cmd), cmd.Short)
	}
	for _, cmd := range commands {
		describe(&page, cmd)
	}
	if _, err := io.WriteString(w, page.String()); err != nil {
		return fmt.Errorf("writing the page of %s: %w", root.Name(), err)
	}
	return nil
}

// visible lists cmd and all commands below it that people are to see.
func visible(cmd *cobra.Command) []*cobra.Command {
	out := []*cobra.Command{cmd}
	for _, child := range cmd.Commands() {
		if child.IsAvailableCommand() && child.Name() != "help" && child.Name() != "completion" {
			out = append(out, visible(child)...)
		}
	}
	return out
}

// anchor is the name that a heading of cmd's path is linked by.
func anchor(cmd *cobra.Command) string {
	return strings.ReplaceAll(cmd.CommandPath(), " ", "-")
}

func describe(page *strings.Builder, cmd *cobra.Command) {
	fmt.Fprintf(page, "\n## %s\n\n%s.\n", cmd.CommandPath(), strings.TrimSuffix(cmd.Short, "."))
	if cmd.Long != "" {
		fmt.Fprintf(page, "\n```text\n%s\n```\n", strings.TrimSpace(cmd.Long))
	}
	if cmd.Runnable() {
		fmt.Fprintf(page, "\nUsage: `%s`\n", cmd.UseLine())
	}
	if cmd.Example != "" {
		fmt.Fprintf(page, "\n```sh\n%s\n```\n", unindent(cmd.Example))
	}
	var rows []string
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" {
			rows = append(rows, flagRow(f))
		}
	})
	if len(rows) > 0 {
		fmt.Fprintf(page, "\n| flag | default | |\n|---|---|---|\n%s\n", strings.Join(rows, "\n"))
	}
}

func flagRow(f *pflag.Flag) string {
	kind, usage := pflag.UnquoteUsage(f)
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	if kind != "" {
		name += " " + kind
	}
	value := ""
	switch f.DefValue {
	case "", "[]", "false", "0":
	default:
		value = "`" + f.DefValue + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s |", name, value, strings.ReplaceAll(usage, "|", `\|`))
}

// unindent takes the two blanks of cobra's convention off each line.
func unindent(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "  ")
	}
	return strings.Join(lines, "\n")
}
