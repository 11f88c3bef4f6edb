package cli

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pyro/api"
	"pyro/client"
)

// exitCode ends pyro with a code after everything was said.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// interrupted is the cause of a call that a signal ended.
type interrupted struct{ signal syscall.Signal }

func (i interrupted) Error() string { return "interrupted by " + i.signal.String() }

// exit prints err and returns the exit code.
func (a *app) exit(cmd *cobra.Command, args []string, err error) int {
	if err == nil {
		return api.ExitOK
	}
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	if i, ok := errors.AsType[interrupted](err); ok {
		fmt.Fprintln(a.Stderr, "pyro: "+i.Error())
		return api.ExitSignalBase + int(i.signal)
	}
	if errors.Is(err, syscall.EPIPE) {
		return api.ExitSignalBase + int(syscall.SIGPIPE)
	}
	if errors.Is(err, pflag.ErrHelp) {
		cmd.Help()
		return api.ExitOK
	}
	if out, ok := errors.AsType[*client.OutputError](err); ok {
		err = api.Errorf(api.KindStorage, "%w", out).WithHint("the command was ended because its output could not be written")
	}
	e := api.AsError(err)
	if jsonWanted(cmd, args) {
		_, _ = a.Stdout.Write(append(api.MarshalError(e), '\n')) // if it fails, the exit code still tells
	} else {
		a.say(e)
	}
	if _, ok := errors.AsType[failedStart](err); ok {
		return api.ExitFailure
	}
	return e.Kind.Info().ExitCode
}

// say prints an error for people.
func (a *app) say(e *api.Error) {
	fmt.Fprintln(a.Stderr, "pyro: "+harmless(e.Message))
	if e.Hint != "" {
		fmt.Fprintln(a.Stderr, "hint: "+harmless(e.Hint))
	}
}

// jsonWanted reports whether the caller reads JSON. When a flag before --json
// is wrong, parsing has not come to it.
func jsonWanted(cmd *cobra.Command, args []string) bool {
	if f := cmd.Flags().Lookup("json"); f == nil || f.Changed {
		return f != nil && f.Value.String() == "true"
	}
	if len(cmd.Flags().Args()) > 0 { // parsing went well
		return false
	}
	end := slices.Index(args, "--")
	if end < 0 {
		end = len(args)
	}
	return slices.Contains(args[:end], "--json")
}

// flagError says what is wrong with a flag.
func flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	hint := cmd.CommandPath() + " --help"
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		dashes := "--"
		if len(e.GetSpecifiedShortnames()) > 0 {
			dashes = "-"
		}
		return api.Errorf(api.KindUsage, "unknown flag %s%s for %s", dashes, e.GetSpecifiedName(), cmd.CommandPath()).WithHint("%s", hint)
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return api.Errorf(api.KindUsage, "flag --%s needs a value", e.GetSpecifiedName()).WithHint("%s", hint)
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		cause, ok := errors.AsType[*api.Error](e.Unwrap())
		if !ok { // one of cobra's own flags
			return api.Errorf(api.KindUsage, "--%s is %q: %w", e.GetFlag().Name, e.GetValue(), e.Unwrap()).WithHint("%s", hint)
		}
		if cause.Hint == "" {
			cause.Hint = hint
		}
		return cause
	}
	return api.Errorf(api.KindUsage, "%s", err.Error()).WithHint("%s", hint)
}
