package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pyro/api"
	"pyro/client"
)

// shellAttach makes `pyro workspace shell attach`. It has no row because it is
// made of them: it reads, writes and resizes.
func (a *app) shellAttach() *cobra.Command {
	req := new(api.ShellRequest)
	fields, params := reflect.ValueOf(req).Elem(), api.Params(reflect.TypeFor[api.ShellRequest]())
	cmd := &cobra.Command{
		Use:                   useLine("attach", params),
		DisableFlagsInUseLine: true,
		Short:                 "Attach this terminal to a shell",
		Long: `Attach this terminal to a shell.

Shows the end of what the shell wrote, and then all that it writes; all that is
typed goes to it. Its terminal gets the size of this one, and follows it. Any
number of terminals may be attached at once. The shell goes on when the keys to
detach are typed or this terminal is closed.

Ends with the shell's exit code when the shell has ended, and with 0 after
detaching. While the background process is replaced it waits up to ten seconds
and goes on.

Arguments:
  WORKSPACE_ID  id of the workspace
  SHELL_ID      id of the shell`,
		Example: "  pyro workspace shell attach ws-0123456789ab sh-012345",
		Args:    cobra.ArbitraryArgs,
	}
	keys := detachFlag(cmd)
	bindFlags(cmd.Flags(), fields, params)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := bindArgs(cmd, fields, params, args); err != nil {
			return err
		}
		t, err := a.terminal(*keys, *req)
		if err != nil {
			return err
		}
		return t.attach(req.WorkspaceID, func(ctx context.Context) (api.Shell, error) { return t.find(ctx, *req) })
	}
	return cmd
}

// openAttached opens a shell in the size of this terminal and attaches it.
func (a *app) openAttached(req *api.OpenShellRequest, keys string) error {
	t, err := a.terminal(keys, api.ShellRequest{WorkspaceID: req.WorkspaceID, ShellID: "SHELL_ID"})
	if err != nil {
		return err
	}
	t.fresh = true
	if cols, rows, ok := t.size(); ok {
		req.Cols, req.Rows = cols, rows
	}
	return t.attach(req.WorkspaceID, func(ctx context.Context) (api.Shell, error) {
		shell, err := client.Do(ctx, t.client, api.OpenShell, *req)
		if err == nil {
			t.renderShell(io.Discard, api.OpenShell.Operation, req, &shell)
		}
		return shell, err
	})
}

// attached is this process's terminal while a shell has it.
type attached struct {
	*app
	in, out *os.File
	client  *client.Client
	keys    string // what detaches, as the terminal sends it
	keyText string
	fresh   bool // nobody has seen anything of the shell yet
	modes   modes
	column  atomic.Bool // the cursor is not at a line's beginning
}

// errDetached is the cause of an attachment that its user ended.
var errDetached = errors.New("detached")

// terminal takes the terminal; it refuses to if there is none.
func (a *app) terminal(keys string, shell api.ShellRequest) (*attached, error) {
	sent, err := detachBytes(keys)
	if err != nil {
		return nil, err
	}
	in, _ := a.Stdin.(*os.File)
	if in == nil || !isTerminal(in) || !isTerminal(a.Stdout) {
		return nil, api.Errorf(api.KindUsage, "a shell can only be attached to a terminal, and stdin or stdout is none").
			WithHint("pyro workspace shell write %[1]s --input 'make test'; pyro workspace shell read %[1]s --plain", shellQuote(shell.WorkspaceID, shell.ShellID))
	}
	c, err := a.newClient()
	if err != nil {
		return nil, err
	}
	return &attached{app: a, in: in, out: a.Stdout.(*os.File), client: c, keys: sent, keyText: keys}, nil
}

// find returns the shell as it is now.
func (t *attached) find(ctx context.Context, req api.ShellRequest) (api.Shell, error) {
	list, err := client.Do(ctx, t.client, api.ListShells, api.WorkspaceRequest{WorkspaceID: req.WorkspaceID})
	if err != nil {
		return api.Shell{}, err
	}
	if i := slices.IndexFunc(list.Shells, func(s api.Shell) bool { return s.ShellID == req.ShellID }); i >= 0 {
		return list.Shells[i], nil
	}
	return api.Shell{}, api.Errorf(api.KindNotFound, "workspace %s has no shell %s", req.WorkspaceID, req.ShellID).
		WithHint("pyro workspace shell list %s", req.WorkspaceID)
}

// attach connects the terminal with the shell that get returns, until one of
// them has had enough.
func (t *attached) attach(workspace string, get func(context.Context) (api.Shell, error)) error {
	var shell api.Shell
	var ended *api.ShellOutput
	err := t.interruptible(func(ctx context.Context) error {
		var err error
		if shell, err = get(ctx); err != nil {
			return err
		}
		line := fmt.Sprintf("[workspace-shell-attach] workspace_id=%s shell_id=%s state=%s", workspace, shell.ShellID, shell.State)
		if t.keyText != "" {
			line += " detach_keys=" + shellQuote(t.keyText)
		}
		fmt.Fprintln(t.Stderr, line)
		restore, err := t.raw()
		if err != nil {
			return err
		}
		defer restore()
		ended, err = t.connect(ctx, shell)
		return err
	})
	switch {
	case errors.Is(err, errDetached):
		fmt.Fprintf(t.Stderr, "[workspace-shell-attach] workspace_id=%s shell_id=%s state=%s detached=true\n", workspace, shell.ShellID, api.ShellRunning)
		return nil
	case err != nil:
		return err
	}
	fmt.Fprintf(t.Stderr, "[workspace-shell-attach] workspace_id=%s shell_id=%s state=%s exit_code=%s\n", workspace, shell.ShellID, ended.State, codeOr(ended.ExitCode))
	if ended.ExitCode == nil {
		return exitCode(api.ExitFailure)
	}
	return exitCode(*ended.ExitCode)
}

// raw lets every key through, and returns what undoes that and all that the
// shell's programs did to the terminal.
func (t *attached) raw() (restore func(), err error) {
	before, err := term.MakeRaw(int(t.in.Fd()))
	if err != nil {
		return nil, api.Errorf(api.KindUnavailable, "this terminal cannot be attached: %w", err)
	}
	return func() {
		_ = term.Restore(int(t.in.Fd()), before) // if it fails, the terminal is gone
		_, _ = t.out.WriteString(t.modes.undo())
		if t.column.Load() {
			fmt.Fprintln(t.Stderr)
		}
	}, nil
}

// size returns the size of this terminal, if it has any.
func (t *attached) size() (cols, rows int, ok bool) {
	cols, rows, err := term.GetSize(int(t.out.Fd()))
	const most = 1000 // what a shell's terminal may have
	return min(cols, most), min(rows, most), err == nil && cols > 0 && rows > 0
}
