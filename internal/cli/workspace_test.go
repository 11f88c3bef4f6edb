package cli_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/client/clienttest"
)

// addWorkspace gives a background process the workspace ws-1. Ids with a word in
// them (ws-lost) play a special case.
func addWorkspace(s *clienttest.Server) {
	maps.Copy(s.Call, map[string]func(context.Context, []byte) (any, error){
		"status_workspace":    statusWorkspace,
		"list_workspaces":     reply(api.WorkspaceList{Workspaces: []api.Workspace{workspace, stoppedWorkspace()}}),
		"start_workspace":     reply(workspace),
		"stop_workspace":      reply(stoppedWorkspace()),
		"delete_workspace":    reply(api.DeletedWorkspace{WorkspaceID: "ws-1", Deleted: true, BytesFreed: 1536}),
		"reset_workspace":     resetWorkspace,
		"logs_workspace":      logsWorkspace,
		"push_workspace_sync": pushSync,
		"diff_workspace":      diffWorkspace,
		"create_snapshot":     reply(snapshot),
		"list_snapshots":      reply(snapshots),
		"delete_snapshot":     reply(api.DeletedSnapshot{WorkspaceID: "ws-1", SnapshotName: "before", Deleted: true, BytesFreed: 2048}),
		"export_workspace":    exportWorkspace,
	})
	s.Events["create_workspace"] = createWorkspace
	s.Exec["exec_workspace"] = execWorkspace
	s.Exec["export_workspace_tar"] = exportWorkspaceTar
}

var (
	workspace = api.Workspace{
		WorkspaceID: "ws-1", Environment: "debian:12", State: api.WorkspaceStarted, WorkspacePath: "/workspace", ExecutionMode: api.GuestGVisor,
		VCPUCount: 1, MemMiB: 1024, DiskMiB: 8192, PIDLimit: 512, CommandCount: 3, SnapshotCount: 1, ServiceCount: 2, RunningServiceCount: 1,
		WorkspaceSeed:  api.WorkspaceSeed{Mode: api.SeedDirectory, SeedPath: "/home/me/my project", Destination: "/workspace", EntryCount: 12, BytesWritten: 345},
		LastActivityAt: expires, CreatedAt: expires, DiskBytes: 1536,
	}
	snapshot  = api.Snapshot{WorkspaceID: "ws-1", SnapshotName: "before", Kind: "named", CreatedAt: expires, SizeBytes: 2048, Deletable: true}
	snapshots = api.SnapshotList{WorkspaceID: "ws-1", Count: 2, Snapshots: []api.Snapshot{{SnapshotName: "baseline", Kind: "baseline", CreatedAt: expires}, snapshot}}
)

func stoppedWorkspace() api.Workspace {
	ws := workspace
	ws.WorkspaceID, ws.State, ws.TTLSeconds, ws.ExpiresAt = "ws-2", api.WorkspaceStopped, 600, expires
	ws.ResetCount, ws.LastResetAt, ws.SavedAt = 2, expires, expires
	ws.WorkspaceSeed = api.WorkspaceSeed{Mode: api.SeedEmpty, Destination: "/workspace"}
	return ws
}

func decode[Req any](body []byte) Req {
	var req Req
	if err := json.Unmarshal(body, &req); err != nil {
		panic(err)
	}
	return req
}

func statusWorkspace(_ context.Context, body []byte) (any, error) {
	ws := workspace
	switch req := decode[api.WorkspaceRequest](body); req.WorkspaceID {
	case "ws-9":
		return nil, api.Errorf(api.KindNotFound, "workspace ws-9 does not exist").WithHint("pyro workspace list")
	case "ws-lost":
		ws.Recovery = &api.Recovery{Reason: "out of memory", LostAt: expires, Source: "autosave", SavedAt: expires}
	case "ws-recovered":
		ws.Recovery = &api.Recovery{Reason: "host restart", LostAt: expires, Source: "baseline", SavedAt: expires, RestoredAt: expires}
	}
	return ws, nil
}

// createWorkspace answers with what it was asked for.
func createWorkspace(_ context.Context, body []byte, emit func(any)) (any, error) {
	req := decode[api.CreateWorkspaceRequest](body)
	emit(api.Progress{Phase: "install", Environment: req.Environment})
	ws := workspace
	ws.Environment, ws.VCPUCount, ws.MemMiB, ws.DiskMiB, ws.PIDLimit = req.Environment, req.VCPUCount, req.MemMiB, req.DiskMiB, req.PIDLimit
	ws.TTLSeconds, ws.Network, ws.ExecutionMode = req.TTLSeconds, req.Network, api.ExecutionMode(req.Runtime)
	ws.WorkspaceSeed.SeedPath = req.SeedPath
	if strings.Contains(req.SeedPath, "special") {
		for i := range 22 {
			ws.Warnings = append(ws.Warnings, api.Warning{Path: fmt.Sprintf("fifo\n%d", i), Reason: "not a file"})
		}
		ws.WarningsDropped = 5
	}
	return ws, nil
}

func resetWorkspace(_ context.Context, body []byte) (any, error) {
	return api.ResetResult{Workspace: stoppedWorkspace(), RestoredSnapshot: decode[api.ResetRequest](body).Snapshot}, nil
}

func pushSync(_ context.Context, body []byte) (any, error) {
	req := decode[api.PushRequest](body)
	return api.PushResult{
		WorkspaceID: req.WorkspaceID, ExecutionMode: api.GuestGVisor, Mode: api.SeedDirectory, SourcePath: req.SourcePath, Destination: req.Dest,
		EntryCount: 15, FileCount: 12, Bytes: 345, SentEntries: 2, SentBytes: 10, DurationMS: 7,
		Warnings: []api.Warning{{Path: "socket", Reason: "sockets are not copied"}}, WarningsDropped: 1,
	}, nil
}

func exportWorkspace(_ context.Context, body []byte) (any, error) {
	req := decode[api.ExportRequest](body)
	return api.ExportResult{
		WorkspaceID: req.WorkspaceID, Path: req.Path, OutputPath: req.OutputPath, ArtifactType: "directory",
		EntryCount: 3, FileCount: 2, BytesWritten: 10, Warnings: []api.Warning{{Path: "dist/dev", Reason: "a device"}},
	}, nil
}

// execWorkspace plays a command in a workspace: its first word says which.
func execWorkspace(_ context.Context, body []byte, s clienttest.Stream) {
	req := decode[api.ExecWorkspaceRequest](body)
	res := api.ExecResult{
		WorkspaceID: req.WorkspaceID, Sequence: 4, Cwd: req.Cwd, Environment: "debian:12", ExecutionMode: api.GuestGVisor, Command: req.Command, DurationMS: 5,
	}
	s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "start", WorkspaceID: req.WorkspaceID})
	s.WriteJSON(api.FrameEvent, api.ExecEvent{Phase: "execute", WorkspaceID: req.WorkspaceID, Sequence: 4})
	switch req.Command[0] {
	case "fail":
		s.Write(api.FrameStdout, []byte("out\n"))
		s.Write(api.FrameStderr, []byte("broken\n"))
		res.ExitCode = 3
	case "sleep":
		res.ExitCode, res.Limit = 124, api.Errorf(api.KindTimeout, "the time limit of 30 s ended the command").WithHint("--timeout-seconds 60")
	case "trap":
		s.Write(api.FrameStdout, []byte("ready"))
		res.ExitCode = converse(s)
	case "reset":
		s.WriteJSON(api.FrameError, api.Errorf(api.KindReset, "workspace ws-1 was reset while the command ran"))
		return
	}
	s.WriteJSON(api.FrameResult, res)
}

func TestWorkspaceCommands(t *testing.T) {
	t.Setenv("TZ", "UTC")
	stamp := expires.Local().Format(time.RFC3339)
	dirs := scene(t)
	const resources = "Resources: vcpu_count=1 mem_mib=1024 disk_mib=8192 pid_limit=512\nNetwork: no\nCommand count: 3\nServices: running=1 total=2\nSnapshots: 1\n"
	started := "Workspace ID: ws-1\nEnvironment: debian:12\nState: started\nWorkspace: /workspace\n" +
		"Seed: mode=directory source='/home/me/my project' entries=12 bytes=345\nExecution mode: guest_gvisor\n" + resources +
		"Reset count: 0\nLast reset: never\nCreated: " + stamp + "\nLast activity: " + stamp + "\nTTL: none\nSaved: nothing to save yet\nDisk: 1.5KiB (1536 bytes)\n"
	stopped := "Workspace ID: ws-2\nEnvironment: debian:12\nState: stopped\nWorkspace: /workspace\nSeed: mode=empty entries=0 bytes=0\nExecution mode: guest_gvisor\n" + resources +
		"Reset count: 2\nLast reset: " + stamp + "\nCreated: " + stamp + "\nLast activity: " + stamp + "\nTTL: 600 s, until " + stamp + "\nSaved: " + stamp + "\nDisk: 1.5KiB (1536 bytes)\n"
	for _, tt := range []struct {
		args string
		want run
	}{
		{"workspace status ws-1", run{0, started, ""}},
		{"workspace start ws-1", run{0, started, ""}},
		{"workspace stop ws-2", run{0, stopped, ""}},
		{"workspace status ws-9", run{125, "", "pyro: workspace ws-9 does not exist\nhint: pyro workspace list\n"}},
		{"workspace status ws-lost", run{0, started + "Recovery pending: the sandbox was lost (out of memory) at " + stamp + "; will come back from the autosave of " + stamp + " with its next use\n", ""}},
		{"workspace status ws-recovered", run{0, started + "Recovered: the sandbox was lost (host restart) at " + stamp + "; came back from the baseline of " + stamp + " at " + stamp + "\n", ""}},
		{"workspace list", run{0, "WORKSPACE_ID  NAME  ENVIRONMENT  STATE    EXECUTION_MODE  COMMANDS  RESETS  DISK    LAST_ACTIVITY         EXPIRES\n" +
			"ws-1          -     debian:12    started  guest_gvisor    3         0       1.5KiB  " + stamp + "  never\n" +
			"ws-2          -     debian:12    stopped  guest_gvisor    3         2       1.5KiB  " + stamp + "  " + stamp + "\n", ""}},
		{"workspace reset ws-2", run{0, "Workspace ID: ws-2\nRestored: baseline\nState: stopped\nExecution mode: guest_gvisor\nReset count: 2\nLast reset: " + stamp + "\n", ""}},
		{"workspace reset ws-2 --snapshot before", run{0, "Workspace ID: ws-2\nRestored: before\nState: stopped\nExecution mode: guest_gvisor\nReset count: 2\nLast reset: " + stamp + "\n", ""}},
		{"workspace sync push ws-1 /src", run{
			0, "Pushed: /src\nWorkspace ID: ws-1\nDestination: /workspace\nExecution mode: guest_gvisor\n" +
				"Source: mode=directory entries=15 files=12 bytes=345\nSent: entries=2 bytes=10 duration_ms=7\n",
			"warning: socket: sockets are not copied\nwarning: ... and 1 more; see --json\n",
		}},
		{"workspace export ws-1 dist --output /out/dist", run{
			0, "Exported: /out/dist\nWorkspace ID: ws-1\nPath: dist\nType: directory\nEntries: 3\nFiles: 2\nSize: 10B (10 bytes)\n",
			"warning: dist/dev: a device\n",
		}},
		{"workspace snapshot create ws-1 before", run{0, "Snapshot: before\nWorkspace ID: ws-1\nCreated: " + stamp + "\nSize: 2.0KiB (2048 bytes)\n", ""}},
		{"workspace snapshot list ws-1", run{0, "NAME      KIND      CREATED               SIZE    DELETABLE\n" +
			"baseline  baseline  " + stamp + "  0B      no\nbefore    named     " + stamp + "  2.0KiB  yes\n", ""}},
		{"workspace snapshot delete ws-1 before", run{0, "Deleted: snapshot before of ws-1\nFreed: 2.0KiB (2048 bytes)\n", ""}},
		{"workspace delete ws-1", run{0, "Deleted: ws-1\nFreed: 1.5KiB (1536 bytes)\n", ""}},
		{"workspace exec ws-1 -- true", run{0, "", "[workspace-exec] workspace_id=ws-1 sequence=4 cwd=/workspace execution_mode=guest_gvisor exit_code=0 duration_ms=5\n"}},
		{"workspace exec ws-1 --cwd src -- fail", run{3, "out\n", "broken\n[workspace-exec] workspace_id=ws-1 sequence=4 cwd=src execution_mode=guest_gvisor exit_code=3 duration_ms=5\n"}},
		{"workspace exec ws-1 --cwd a\u00a0'b -- true", run{0, "", "[workspace-exec] workspace_id=ws-1 sequence=4 cwd=$'a\\302\\240\\'b' execution_mode=guest_gvisor exit_code=0 duration_ms=5\n"}},
		{"workspace exec ws-1 sleep", run{124, "", "[workspace-exec] workspace_id=ws-1 sequence=4 cwd=/workspace execution_mode=guest_gvisor exit_code=124 duration_ms=5\n" +
			"pyro: the time limit of 30 s ended the command\nhint: --timeout-seconds 60\n"}},
		{"workspace exec ws-1 reset", run{125, "", "pyro: workspace ws-1 was reset while the command ran\n"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			got := pyro(t, dirs, nil, strings.Split(tt.args, " ")...)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(run{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWorkspaceCreate(t *testing.T) {
	dirs := scene(t)
	t.Chdir(t.TempDir())
	wd, _ := os.Getwd()
	got := pyro(t, dirs, nil, "workspace", "create", "debian:12", "--seed-path", "special")
	for _, line := range []string{
		"Workspace ID: ws-1\n", "Seed: mode=directory source=" + wd + "/special entries=12 bytes=345\n", "Execution mode: auto\n",
		"Resources: vcpu_count=1 mem_mib=1024 disk_mib=8192 pid_limit=512\nNetwork: no\n", "TTL: none\n",
	} {
		if !strings.Contains(got.stdout, line) {
			t.Errorf("%q is missing in\n%s", line, got.stdout)
		}
	}
	want := "[pull] phase=install environment=debian:12\n"
	for i := range 20 {
		want += fmt.Sprintf("warning: \"fifo\\n%d\": not a file\n", i)
	}
	want += "warning: ... and 7 more; see --json\n"
	if diff := cmp.Diff(want, got.stderr); diff != "" || got.code != 0 {
		t.Errorf("exit code %d, stderr:\n%s", got.code, diff)
	}
	got = pyro(t, dirs, nil, "workspace", "create", "--json", "debian:12", "--seed-path", "special", "--ttl-seconds", "5", "--mem-mib", "64", "--network")
	var ws api.Workspace
	if err := json.Unmarshal([]byte(got.stdout), &ws); err != nil || len(ws.Warnings) != 22 || ws.TTLSeconds != 5 || ws.MemMiB != 64 || !ws.Network || strings.Contains(got.stderr, "warning") {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWorkspaceExecJSON(t *testing.T) {
	got := pyro(t, scene(t), nil, "workspace", "exec", "ws-1", "--json", "--", "fail")
	var res api.ExecResult
	if err := json.Unmarshal([]byte(got.stdout), &res); err != nil || got.code != 3 || got.stderr != "" {
		t.Fatalf("got %+v, %v", got, err)
	}
	want := api.ExecResult{
		WorkspaceID: "ws-1", Sequence: 4, Cwd: "/workspace", Environment: "debian:12", ExecutionMode: api.GuestGVisor, Command: []string{"fail"},
		ExitCode: 3, Stdout: "out\n", Stderr: "broken\n", DurationMS: 5,
	}
	if diff := cmp.Diff(want, res); diff != "" {
		t.Error(diff)
	}
}

// TestWorkspaceExecSignals checks that a signal is the command's, not pyro's.
func TestWorkspaceExecSignals(t *testing.T) {
	got := signaled(t, scene(t), func(written string, send func(os.Signal)) {
		switch {
		case strings.HasSuffix(written, "ready"):
			send(syscall.SIGINT)
		case strings.HasSuffix(written, `{"signal":"INT"}`):
			send(syscall.SIGTERM)
		}
	}, "workspace", "exec", "ws-1", "trap")
	if got.code != 143 || !strings.Contains(got.stdout, `ready{"signal":"INT"}{"signal":"TERM"}[workspace-exec] `) {
		t.Errorf("got %+v", got)
	}
}

// tarText is not a tar: what the command line passes on it does not look into.
const tarText = "tar\x00\xff\n"

func exportWorkspaceTar(_ context.Context, body []byte, s clienttest.Stream) {
	req := decode[api.ExportTarRequest](body)
	if req.Path == "missing" {
		s.WriteJSON(api.FrameError, api.Errorf(api.KindNotFound, "workspace ws-1 has no missing"))
		return
	}
	for range 100 {
		s.Write(api.FrameStdout, []byte(tarText))
	}
	s.WriteJSON(api.FrameResult, api.ExecResult{WorkspaceID: req.WorkspaceID, StdoutBytes: int64(100 * len(tarText)), DurationMS: 5})
}

func TestExportToStdout(t *testing.T) {
	dirs := scene(t)
	want := run{0, strings.Repeat(tarText, 100), "[workspace-export] workspace_id=ws-1 path=dist bytes=600 duration_ms=5\n"}
	got := pyro(t, dirs, nil, "workspace", "export", "ws-1", "dist", "--output", "-")
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(run{})); diff != "" {
		t.Error(diff)
	}
	got = pyro(t, dirs, nil, "workspace", "export", "ws-1", "missing", "--output=-")
	if diff := cmp.Diff(run{125, "", "pyro: workspace ws-1 has no missing\n"}, got, cmp.AllowUnexported(run{})); diff != "" {
		t.Error(diff)
	}
}

func TestExportToStdoutThatTakesNothing(t *testing.T) {
	dirs := scene(t)
	args := []string{"workspace", "export", "ws-1", "dist", "--output", "-"}
	if code, stderr := mainTo(dirs, brokenPipe{}, args...); code != 141 || stderr != "" {
		t.Errorf("nobody reads: exit code %d, stderr %q", code, stderr)
	}
	want := "pyro: stdout: no space left on device\nhint: see that stdout can be written\n"
	if code, stderr := mainTo(dirs, fullDisk{}, args...); code != 125 || stderr != want {
		t.Errorf("full disk: exit code %d, stderr %q", code, stderr)
	}
}

func TestExportToARelativePath(t *testing.T) {
	dirs := scene(t)
	t.Chdir(t.TempDir())
	wd, _ := os.Getwd()
	for path, want := range map[string]string{"dist": wd + "/dist", "./-": wd + "/-", "/a/../b": "/b"} {
		got := pyro(t, dirs, nil, "workspace", "export", "ws-1", "dist", "--output", path)
		if !strings.HasPrefix(got.stdout, "Exported: "+want+"\n") {
			t.Errorf("--output %s: got %+v", path, got)
		}
	}
	got := pyro(t, dirs, nil, "workspace", "sync", "push", "ws-1", "-")
	if !strings.HasPrefix(got.stdout, "Pushed: "+wd+"/-\n") {
		t.Errorf("got %+v", got)
	}
}

// TestExportToATerminal checks that nobody's terminal gets a tar.
func TestExportToATerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs a pseudoterminal: %v", err)
	}
	defer terminal.Close()
	want := "pyro: --output - writes a tar to stdout, which is a terminal\nhint: pyro workspace export ws-1 'my dist' --output - > FILE.tar\n"
	if code, stderr := mainTo(clienttest.Dirs(t), terminal, "workspace", "export", "ws-1", "my dist", "--output", "-"); code != 2 || stderr != want {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

// patchBytes are a patch that is not UTF-8.
const patchBytes = "diff --git a/caf\xe9 b/caf\xe9\n--- a/caf\xe9\n+++ b/caf\xe9\n@@ -1 +1 @@\n-\xff\x00\n+\xfe\r\n\\ No newline at end of file\n"

func diffWorkspace(_ context.Context, body []byte) (any, error) {
	req := decode[api.DiffRequest](body)
	d := api.Diff{WorkspaceID: req.WorkspaceID, From: req.From, To: "present", View: api.DiffPatch}
	text, n := "text", int64(5)
	switch {
	case req.WorkspaceID == "ws-same":
		return d, nil
	case req.WorkspaceID == "ws-broken":
		d.PatchBase64 = "!"
		return d, nil
	case req.Stat:
		d.View, d.Patch = api.DiffStat, " a | 1 +\n 1 file changed, 1 insertion(+)\n"
	case req.NameOnly:
		d.View, d.Patch = api.DiffNames, "a\n"
	case req.WorkspaceID == "ws-latin":
		d.Patch, d.PatchBase64 = strings.ToValidUTF8(patchBytes, "\uFFFD"), base64.StdEncoding.EncodeToString([]byte(patchBytes))
	default:
		d.Patch, d.PatchCut, d.EntriesCut = "diff --git a/a b/a\n<>&\u2028\n", true, true
	}
	d.Changed, d.Summary = true, api.DiffSummary{Total: 28, Added: 1, Modified: 25, Deleted: 1, TypeChanged: 1, TextPatched: 1, NonText: 27}
	d.Entries = []api.DiffEntry{
		{Path: "a", Status: "modified", ArtifactType: "file", TextPatch: &text, SizeBefore: &n, SizeAfter: &n},
		{Path: "bell\a", Status: "deleted", ArtifactType: "file", Reason: "binary"},
		{Path: "dir", Status: "added", ArtifactType: "directory", Reason: "directory"},
		{Path: "link", Status: "type_changed", ArtifactType: "symlink", Reason: "type_changed"},
		{Path: "null", Status: "modified", ArtifactType: "char_device", Reason: "special"},
	}
	for range 23 {
		d.Entries = append(d.Entries, api.DiffEntry{Path: "big", Status: "modified", ArtifactType: "file", Reason: "too_large"})
	}
	return d, nil
}

func TestDiff(t *testing.T) {
	dirs := scene(t)
	const counts = "total=28 added=1 modified=25 deleted=1 type_changed=1 text_patched=1 non_text=27\n"
	textless := "not in the patch: \"bell\\a\": deleted file, binary\nnot in the patch: link: type changed symlink\nnot in the patch: null: modified char device\n" +
		strings.Repeat("not in the patch: big: modified file, too large\n", 17) + "not in the patch: ... and 6 more; see --json\nnot in the patch: folders=1\n"
	cut := "warning: patch: some texts are missing because it is longer than 16 MiB\nwarning: entries: there are more than the first 28\n"
	for _, tt := range []struct {
		args string
		want run
	}{
		{"ws-1", run{0, "diff --git a/a b/a\n<>&\u2028\n", "[workspace-diff] workspace_id=ws-1 from=baseline to=present " + counts + textless + cut}},
		{"ws-latin --from before", run{0, patchBytes, "[workspace-diff] workspace_id=ws-latin from=before to=present " + counts + textless}},
		{"ws-1 --stat", run{0, " a | 1 +\n 1 file changed, 1 insertion(+)\n", "[workspace-diff] workspace_id=ws-1 from=baseline to=present " + counts}},
		{"ws-1 --name-only", run{0, "a\n", "[workspace-diff] workspace_id=ws-1 from=baseline to=present " + counts}},
		{"ws-same", run{0, "", "[workspace-diff] workspace_id=ws-same from=baseline to=present total=0 added=0 modified=0 deleted=0 type_changed=0 text_patched=0 non_text=0\n"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			got := pyro(t, dirs, nil, append([]string{"workspace", "diff"}, strings.Fields(tt.args)...)...)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(run{})); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := pyro(t, dirs, nil, "workspace", "diff", "ws-broken"); got.code != 125 || got.stdout != "" || !strings.Contains(got.stderr, "patch_base64") {
		t.Errorf("got %+v", got)
	}
	if code, _ := mainTo(dirs, brokenPipe{}, "workspace", "diff", "ws-1"); code != 141 {
		t.Errorf("| head: exit code %d", code)
	}
}

func logsWorkspace(_ context.Context, body []byte) (any, error) {
	req := decode[api.LogsWorkspaceRequest](body)
	if req.WorkspaceID == "ws-new" {
		return api.CommandLog{WorkspaceID: req.WorkspaceID}, nil
	}
	code := func(n int) *int { return &n }
	return api.CommandLog{WorkspaceID: req.WorkspaceID, Count: 4, Commands: []api.Command{
		{Sequence: 1, Command: []string{"echo", "it's", "\x1b[31m"}, Cwd: "/workspace", State: api.CommandExited, ExitCode: code(0), DurationMS: 5, Stdout: "it's \n", Stderr: "no newline"},
		{
			Sequence: 2, Command: []string{"make"}, Cwd: "/workspace/my src", State: api.CommandExited, ExitCode: code(124), DurationMS: 7, Stdout: "begin\n[... 10 bytes left out ...]\nend", Stderr: "e\n",
			StdoutTruncated: true, StdoutBytes: 18, StdoutPath: "/state/2.stdout", StderrTruncated: true, StderrBytes: 19,
			Limit: api.Errorf(api.KindTimeout, "the time limit of 30 s ended the command"),
		},
		{Sequence: 3, Command: []string{"sleep", "9"}, Cwd: "/workspace", State: api.CommandRunning, DurationMS: 9},
		{Sequence: 4, Command: []string{""}, Cwd: "/workspace", State: api.CommandLost, DurationMS: 9, Limit: api.Errorf(api.KindSandboxDied, "the sandbox ended")},
	}}, nil
}

func TestLogs(t *testing.T) {
	dirs := scene(t)
	want := run{
		0, "it's \nbegin\n[... 10 bytes left out ...]\nend",
		"[workspace-logs] sequence=1 exit_code=0 duration_ms=5 cwd=/workspace command=echo 'it'\\''s' $'\\033[31m'\nno newline\n" +
			"[workspace-logs] sequence=2 exit_code=124 duration_ms=7 cwd='/workspace/my src' command=make\ne\n" +
			"[workspace-logs] sequence=2 stdout_truncated=true stdout_bytes=18 stdout_path=/state/2.stdout\n" +
			"[workspace-logs] sequence=2 stderr_truncated=true stderr_bytes=19\n" +
			"[workspace-logs] sequence=2 limit=timeout: the time limit of 30 s ended the command\n" +
			"[workspace-logs] sequence=3 state=running exit_code=- duration_ms=9 cwd=/workspace command=sleep 9\n" +
			"[workspace-logs] sequence=4 state=lost exit_code=- duration_ms=9 cwd=/workspace command=''\n" +
			"[workspace-logs] sequence=4 limit=sandbox_died: the sandbox ended\n",
	}
	if diff := cmp.Diff(want, pyro(t, dirs, nil, "workspace", "logs", "ws-1"), cmp.AllowUnexported(run{})); diff != "" {
		t.Error(diff)
	}
	want = run{0, "", "[workspace-logs] workspace_id=ws-new count=0\n"}
	if diff := cmp.Diff(want, pyro(t, dirs, nil, "workspace", "logs", "ws-new"), cmp.AllowUnexported(run{})); diff != "" {
		t.Error(diff)
	}
	if code, stderr := mainTo(dirs, fullDisk{}, "workspace", "logs", "ws-1"); code != 125 || !strings.Contains(stderr, "pyro: stdout: no space left on device\n") {
		t.Errorf("on a full disk: exit code %d, stderr %q", code, stderr)
	}
}
