// Package cli is what the two programs share at the command line: how a run ends,
// how results and progress are printed, and the flags both have.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"naru/internal/progress"
)

// Streams are a program's standard streams.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Program is one of naru's programs.
type Program struct {
	Root *cobra.Command
	// Judge knows the errors that only this program can meet.
	Judge Judge
}

// Run executes the program with args and returns the exit code. The error, if
// any, is reported here and nowhere else.
func (p Program) Run(ctx context.Context, args []string, s Streams) int {
	root := p.Root
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SilenceErrors = true
	root.SilenceUsage = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &UsageError{Err: err} })
	root.PersistentPreRunE = checkFlags
	refuseUnknown(root)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		_, _ = fmt.Fprintln(s.Err, "stopped: what is complete is kept, run the same command again to go on")
		return ExitInterrupted
	}
	v := judge(err, p.Judge)
	report(s.Err, err, v.Hint)
	return v.Code
}

// checkFlags does what cobra does next, but its error is a *UsageError.
func checkFlags(cmd *cobra.Command, _ []string) error {
	if err := errors.Join(cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups()); err != nil {
		return &UsageError{Err: err}
	}
	return nil
}

// refuseUnknown makes the commands that only hold others check their arguments:
// cobra shows their help, and calls that a success, whatever follows them.
func refuseUnknown(cmd *cobra.Command) {
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.Args = Args(cobra.NoArgs)
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, child := range cmd.Commands() {
		refuseUnknown(child)
	}
}

// report prints err and what to do about it.
func report(w io.Writer, err error, hint string) {
	lines := strings.Split(strings.TrimRight(err.Error(), "\n"), "\n")
	for _, line := range lines {
		_, _ = fmt.Fprintf(w, "error: %s\n", line)
	}
	if hint != "" {
		_, _ = fmt.Fprintf(w, "hint: %s\n", hint)
	}
}

// SignalContext is done at the first interrupt or termination, which lets a run
// stop between steps; a second one ends the process at once.
func SignalContext(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, cancel) // the default action is back for the second signal
	return ctx, cancel
}

// UsageError is a command line that cannot be understood.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef makes a *UsageError.
func Usagef(format string, args ...any) error {
	return &UsageError{Err: fmt.Errorf(format, args...)}
}

// Args wraps a cobra argument check so that its error is a *UsageError.
func Args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &UsageError{Err: fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
		}
		return nil
	}
}

// ProgressFlags choose how progress is shown.
type ProgressFlags struct{ mode string }

// Add defines --progress on cmd.
func (f *ProgressFlags) Add(cmd *cobra.Command) {
	f.mode = string(progress.Auto)
	cmd.Flags().Var(&choice{value: &f.mode, of: progress.Modes()}, "progress", "how to show progress on standard error: "+strings.Join(progress.Modes(), ", "))
	_ = cmd.RegisterFlagCompletionFunc("progress", cobra.FixedCompletions(progress.Modes(), cobra.ShellCompDirectiveNoFileComp))
}

// Observer starts progress on w. Close it.
func (f *ProgressFlags) Observer(w io.Writer) progress.Observer {
	return progress.New(progress.Mode(f.mode), w, width(w))
}

// width of the terminal that w is, or 0 when it is none.
func width(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return 0
	}
	columns, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return columns
}
