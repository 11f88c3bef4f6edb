package cli_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/client/clienttest"
)

// addShells gives a background process the shell sh-1 of ws-1.
func addShells(s *clienttest.Server) {
	s.Call["open_shell"] = openShell
	s.Call["list_shells"] = reply(api.ShellList{WorkspaceID: "ws-1", Shells: []api.Shell{shell, exitedShell()}})
	s.Call["read_shell"] = readShell
	s.Call["write_shell"] = writeShell
	s.Call["resize_shell"] = resizeShell
	s.Call["signal_shell"] = reply(shell)
	s.Call["close_shell"] = reply(api.ClosedShell{WorkspaceID: "ws-1", ShellID: "sh-1", Closed: true})
}

var shell = api.Shell{
	WorkspaceID: "ws-1", ShellID: "sh-1", State: api.ShellRunning, Command: []string{"bash"}, Cwd: "/workspace",
	Cols: 120, Rows: 30, StartedAt: expires, ExecutionMode: api.GuestGVisor,
}

func exitedShell() api.Shell {
	s := shell
	s.ShellID, s.State, s.ExitCode, s.EndedAt, s.Cwd = "sh-2", api.ShellExited, new(3), expires, "/workspace/my src"
	s.Command = []string{"sh", "-c", "exit 3"}
	return s
}

func openShell(_ context.Context, body []byte) (any, error) {
	req := decode[api.OpenShellRequest](body)
	s := shell
	s.Cwd, s.Cols, s.Rows = req.Cwd, req.Cols, req.Rows
	if len(req.Command) > 0 {
		s.Command = req.Command
	}
	return s, nil
}

// latin is output that is not UTF-8.
const latin = "caf\xe9\x1b[0m\r\n"

func readShell(_ context.Context, body []byte) (any, error) {
	req := decode[api.ReadShellRequest](body)
	out := api.ShellOutput{WorkspaceID: req.WorkspaceID, ShellID: req.ShellID, State: api.ShellRunning, Cursor: req.Cursor, NextCursor: req.Cursor + 4, Output: "a\r\n$"}
	switch req.ShellID {
	case "sh-2":
		out.State, out.ExitCode = api.ShellExited, new(3)
	case "sh-latin":
		out.Output, out.OutputBase64 = strings.ToValidUTF8(latin, "\uFFFD"), base64.StdEncoding.EncodeToString([]byte(latin))
		out.Truncated, out.DroppedBytes = true, 9
	case "sh-broken":
		out.OutputBase64 = "!"
	case "sh-9":
		return nil, api.Errorf(api.KindNotFound, "workspace ws-1 has no shell sh-9").WithHint("pyro workspace shell list ws-1")
	}
	if req.Plain {
		out.Output = "plain\n"
	}
	return out, nil
}

// writeShell answers with the length of all that was typed.
func writeShell(_ context.Context, body []byte) (any, error) {
	var req api.WriteShellRequest
	if err := api.DecodeRequest(body, &req); err != nil {
		return nil, err
	}
	n := len(req.Input)
	if *req.AppendNewline {
		n++
	}
	return api.ShellWritten{WorkspaceID: req.WorkspaceID, ShellID: req.ShellID, State: api.ShellRunning, WrittenBytes: n, NextCursor: 7}, nil
}

func resizeShell(_ context.Context, body []byte) (any, error) {
	req := decode[api.ResizeShellRequest](body)
	s := shell
	s.Cols, s.Rows = req.Cols, req.Rows
	return s, nil
}

func TestShellCommands(t *testing.T) {
	t.Setenv("TZ", "UTC")
	stamp := expires.Local().Format(time.RFC3339)
	dirs := scene(t)
	const of = " workspace_id=ws-1 shell_id=sh-1 state=running "
	opened := "Shell ID: sh-1\nWorkspace ID: ws-1\nState: running\nCommand: %c\nCwd: %d\nSize: cols=%s\nStarted: " + stamp + "\nExecution mode: guest_gvisor\n"
	open := func(command, cwd, size string) string {
		return strings.NewReplacer("%c", command, "%d", cwd, "%s", size).Replace(opened)
	}
	for _, tt := range []struct {
		args string
		want run
	}{
		{"open ws-1", run{0, open("bash", "/workspace", "120 rows=30"), "[workspace-shell-open]" + of + "cwd=/workspace cols=120 rows=30 execution_mode=guest_gvisor\n"}},
		{"open ws-1 --cwd src --cols 80 --rows=24 -- sh -c 'x'", run{
			0, open(`sh -c ''\''x'\'''`, "src", "80 rows=24"),
			"[workspace-shell-open]" + of + "cwd=src cols=80 rows=24 execution_mode=guest_gvisor\n",
		}},
		{"list ws-1", run{0, "SHELL_ID  STATE    EXIT_CODE  SIZE    STARTED               CWD                COMMAND\n" +
			"sh-1      running  -          120x30  " + stamp + "  /workspace         bash\n" +
			"sh-2      exited   3          120x30  " + stamp + "  /workspace/my src  sh -c 'exit 3'\n", ""}},
		{"read ws-1 sh-1", run{0, "a\r\n$", "[workspace-shell-read]" + of + "cursor=0 next_cursor=4 truncated=false\n"}},
		{"read ws-1 sh-1 --cursor 4 --plain", run{0, "plain\n", "[workspace-shell-read]" + of + "cursor=4 next_cursor=8 truncated=false\n"}},
		{"read ws-1 sh-2", run{0, "a\r\n$", "[workspace-shell-read] workspace_id=ws-1 shell_id=sh-2 state=exited cursor=0 next_cursor=4 truncated=false exit_code=3\n"}},
		{"read ws-1 sh-latin", run{0, latin, "[workspace-shell-read] workspace_id=ws-1 shell_id=sh-latin state=running cursor=0 next_cursor=4 truncated=true dropped_bytes=9\n"}},
		{"read ws-1 sh-9", run{125, "", "pyro: workspace ws-1 has no shell sh-9\nhint: pyro workspace shell list ws-1\n"}},
		{"write ws-1 sh-1 --input make", run{0, "", "[workspace-shell-write]" + of + "written_bytes=5 next_cursor=7\n"}},
		{"write ws-1 sh-1 --input make --no-newline", run{0, "", "[workspace-shell-write]" + of + "written_bytes=4 next_cursor=7\n"}},
		{"write ws-1 sh-1 --input=", run{0, "", "[workspace-shell-write]" + of + "written_bytes=1 next_cursor=7\n"}},
		{"resize ws-1 sh-1 --cols 100 --rows 40", run{0, "", "[workspace-shell-resize]" + of + "cwd=/workspace cols=100 rows=40 execution_mode=guest_gvisor\n"}},
		{"signal ws-1 sh-1", run{0, "", "[workspace-shell-signal]" + of + "signal=INT\n"}},
		{"signal ws-1 sh-1 --signal TERM", run{0, "", "[workspace-shell-signal]" + of + "signal=TERM\n"}},
		{"close ws-1 sh-1", run{0, "", "[workspace-shell-close] workspace_id=ws-1 shell_id=sh-1 closed=true\n"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			got := pyro(t, dirs, nil, append([]string{"workspace", "shell"}, strings.Split(tt.args, " ")...)...)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(run{})); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := pyro(t, dirs, nil, "workspace", "shell", "read", "ws-1", "sh-broken"); got.code != 125 || got.stdout != "" || !strings.Contains(got.stderr, "output_base64") {
		t.Errorf("got %+v", got)
	}
	if code, stderr := mainTo(dirs, brokenPipe{}, "workspace", "shell", "read", "ws-1", "sh-1"); code != 141 || stderr != "" {
		t.Errorf("| head: exit code %d, stderr %q", code, stderr)
	}
}

func TestShellJSON(t *testing.T) {
	got := pyro(t, scene(t), nil, "workspace", "shell", "read", "ws-1", "sh-1", "--json")
	var out api.ShellOutput
	if err := json.Unmarshal([]byte(got.stdout), &out); err != nil || out.Output != "a\r\n$" || got.stderr != "" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestShellUsage(t *testing.T) {
	dirs := clienttest.Dirs(t) // nobody listens: a usage error asks nobody
	const noTerminal = "pyro: a shell can only be attached to a terminal, and stdin or stdout is none\n"
	for args, want := range map[string]string{
		"write ws-1 sh-1":                              "pyro: flag --input (what to type; may be empty, to press return only) is missing\nhint: pyro workspace shell write ws-0123456789ab sh-012345 --input make\n",
		"resize ws-1 sh-1 --cols 0 --rows 1":           "pyro: --cols is missing or empty\nhint: pyro workspace shell resize --help\n",
		"attach ws-1":                                  "pyro: argument SHELL_ID (id of the shell) is missing\nhint: pyro workspace shell attach ws-0123456789ab sh-012345\n",
		"attach ws-1 sh-1 sh-2":                        "pyro: unexpected argument \"sh-2\" for pyro workspace shell attach\nhint: pyro workspace shell attach --help\n",
		"attach ws-1 sh-1":                             noTerminal + "hint: pyro workspace shell write ws-1 sh-1 --input 'make test'; pyro workspace shell read ws-1 sh-1 --plain\n",
		"open ws-1 --attach":                           noTerminal + "hint: pyro workspace shell write ws-1 SHELL_ID --input 'make test'; pyro workspace shell read ws-1 SHELL_ID --plain\n",
		"open ws-1 --detach-keys ctrl-a":               "pyro: --detach-keys is for --attach\nhint: pyro workspace shell open --help\n",
		"attach ws-1 sh-1 --detach-keys ctrl-p,escape": "pyro: --detach-keys: \"escape\" is no key\nhint: write single characters and ctrl- with one of a to z, @, [, \\, ], ^ and _, with commas between, as in ctrl-p,ctrl-q\n",
	} {
		t.Run(args, func(t *testing.T) {
			got := pyro(t, dirs, nil, append([]string{"workspace", "shell"}, strings.Fields(args)...)...)
			if diff := cmp.Diff(run{2, "", want}, got, cmp.AllowUnexported(run{})); diff != "" {
				t.Error(diff)
			}
		})
	}
	got := pyro(t, dirs, nil, "workspace", "shell", "open", "ws-1", "--attach", "--json")
	if e := api.UnmarshalError([]byte(got.stdout)); got.code != 2 || e == nil || e.Kind != api.KindUsage {
		t.Errorf("got %+v", got)
	}
}
