package cli_test

import (
	"context"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/client/clienttest"
)

// addServices gives a background process services of ws-1.
func addServices(s *clienttest.Server) {
	s.Call["start_service"] = startService
	s.Call["list_services"] = reply(api.ServiceList{WorkspaceID: "ws-1", Count: 2, RunningCount: 1, Services: []api.Service{failedService(), service}})
	s.Call["status_service"] = statusService
	s.Call["logs_service"] = logsService
	s.Call["stop_service"] = statusService
}

var service = api.Service{
	WorkspaceID: "ws-1", ServiceName: "web", State: api.ServiceRunning, Command: []string{"python3", "-m", "http.server"}, Cwd: "/workspace",
	Readiness: &api.Readiness{Type: api.ReadyTCP, Address: "127.0.0.1:8080"}, StartedAt: expires, ReadyAt: expires, ExecutionMode: api.GuestGVisor,
}

func failedService() api.Service {
	s := service
	s.ServiceName, s.State, s.Readiness, s.ReadyAt, s.EndedAt, s.ExitCode, s.Restarts = "db", api.ServiceFailed, nil, time.Time{}, expires, new(1), 4
	s.StopReason = "ended with exit code 1\x1b"
	return s
}

func startService(_ context.Context, body []byte) (any, error) {
	var req api.StartServiceRequest
	if err := api.DecodeRequest(body, &req); err != nil {
		return nil, err
	}
	failed := func(kind api.Kind, why string) (any, error) {
		return nil, api.Errorf(kind, "service %s of workspace ws-1 did not start: %s", req.ServiceName, why).WithHint("see what it said: pyro workspace service logs ws-1 %s", req.ServiceName)
	}
	switch req.ServiceName {
	case "slow":
		return failed(api.KindTimeout, "not ready after 30 s")
	case "broken":
		return failed(api.KindExec, "it ended")
	}
	s := service
	s.ServiceName, s.Command, s.Cwd = req.ServiceName, req.Command, req.Cwd
	switch {
	case req.ReadyFile != "":
		s.Readiness = &api.Readiness{Type: api.ReadyFile, Path: req.ReadyFile}
	case req.ReadyHTTP != "":
		s.Readiness = &api.Readiness{Type: api.ReadyHTTP, URL: req.ReadyHTTP}
	case req.ReadyCommand != "":
		s.Readiness = &api.Readiness{Type: api.ReadyCommand, Command: req.ReadyCommand}
	case req.ReadyTCP == "":
		s.Readiness = nil
	}
	return s, nil
}

func statusService(_ context.Context, body []byte) (any, error) {
	switch decode[api.ServiceRequest](body).ServiceName {
	case "db":
		return failedService(), nil
	case "none":
		return nil, api.Errorf(api.KindNotFound, "workspace ws-1 has no service none").WithHint("pyro workspace service list ws-1")
	}
	return service, nil
}

// logsService answers with the log of a service that has ended, which is in
// two parts, or of one that goes on.
func logsService(ctx context.Context, body []byte) (any, error) {
	req := decode[api.LogsServiceRequest](body)
	log := api.ServiceLog{WorkspaceID: req.WorkspaceID, ServiceName: req.ServiceName, State: api.ServiceExited, NextCursor: 30}
	first := []api.LogChunk{{Stream: "stdout", Text: "one\n"}, {Stream: "stderr", Text: "two\n"}, {Stream: "stdout", Text: "three"}}
	switch {
	case req.Cursor == nil && req.TailLines != nil:
		log.Chunks, log.Truncated = first[2:], true
	case req.Cursor == nil:
		log.Chunks = first
	case *req.Cursor == 30:
		log.Chunks, log.NextCursor, log.DroppedBytes = []api.LogChunk{{Stream: "stderr", Text: "four\n"}}, 50, 6
	case req.ServiceName == "web":
		log.NextCursor = *req.Cursor
	}
	if req.ServiceName == "web" {
		log.State = api.ServiceRunning
		if req.Cursor != nil && *req.Cursor == 50 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
	}
	if req.Cursor != nil && *req.Cursor == 50 {
		log.NextCursor = 50
	}
	return log, nil
}

func TestServiceCommands(t *testing.T) {
	t.Setenv("TZ", "UTC")
	stamp := expires.Local().Format(time.RFC3339)
	dirs := scene(t)
	running := func(command, cwd, probe string) string {
		return "Service: web\nWorkspace ID: ws-1\nState: running\nCommand: " + command + "\nCwd: " + cwd + "\nProbe: " + probe +
			"\nStarted: " + stamp + "\nReady: " + stamp + "\nRestarts: 0\nExecution mode: guest_gvisor\n"
	}
	started := "[workspace-service-start] workspace_id=ws-1 service=web state=running cwd=%s ready_at=" + stamp + " execution_mode=guest_gvisor\n"
	in := func(cwd string) string { return strings.ReplaceAll(started, "%s", cwd) }
	failed := "Service: db\nWorkspace ID: ws-1\nState: failed\nReason: \"ended with exit code 1\\x1b\"\nCommand: python3 -m http.server\nCwd: /workspace\nProbe: none\n" +
		"Started: " + stamp + "\nReady: never\nEnded: " + stamp + "\nExit code: 1\nRestarts: 4\nExecution mode: guest_gvisor\n"
	const tcp = "tcp 127.0.0.1:8080"
	for _, tt := range []struct {
		args string
		want run
	}{
		{"start ws-1 web -- sleep 9", run{0, running("sleep 9", "/workspace", "none"), in("/workspace")}},
		{"start ws-1 web --ready-tcp 127.0.0.1:8080 --cwd src -- sleep 9", run{0, running("sleep 9", "src", tcp), in("src")}},
		{"start --ready-file .ready ws-1 web -- sleep 9", run{0, running("sleep 9", "/workspace", "file .ready"), in("/workspace")}},
		{"start ws-1 --ready-http http://127.0.0.1/?a web -- sleep 9", run{0, running("sleep 9", "/workspace", "http 'http://127.0.0.1/?a'"), in("/workspace")}},
		{"start ws-1 web --ready-command test\u00a0x -- sleep 9", run{0, running("sleep 9", "/workspace", "command $'test\\302\\240x'"), in("/workspace")}},
		{"start ws-1 slow -- x", run{125, "", "pyro: service slow of workspace ws-1 did not start: not ready after 30 s\nhint: see what it said: pyro workspace service logs ws-1 slow\n"}},
		{"start ws-1 broken -- x", run{125, "", "pyro: service broken of workspace ws-1 did not start: it ended\nhint: see what it said: pyro workspace service logs ws-1 broken\n"}},
		{"start ws-1 web --ready-file a --ready-tcp b -- x", run{2, "", "pyro: only one of --ready-file, --ready-tcp, --ready-http and --ready-command is possible\nhint: --ready-command can check several things\n"}},
		{"start ws-1 web", run{2, "", "pyro: no command given\nhint: pyro workspace service start ws-0123456789ab web --ready-tcp 127.0.0.1:8080 -- python3 -m http.server 8080\n"}},
		{"start ws-1 web --restart always -- x", run{2, "", "pyro: --restart is \"always\"\nhint: use one of: no, on-failure\n"}},
		{"status ws-1 web", run{0, running("python3 -m http.server", "/workspace", tcp), ""}},
		{"status ws-1 db", run{0, failed, ""}},
		{"status ws-1 none", run{125, "", "pyro: workspace ws-1 has no service none\nhint: pyro workspace service list ws-1\n"}},
		{"stop ws-1 db", run{0, failed, ""}},
		{"list ws-1", run{0, "Services: running=1 total=2\nNAME  STATE    EXIT_CODE  RESTARTS  STARTED               READY                 COMMAND\n" +
			"db    failed   1          4         " + stamp + "  -                     python3 -m http.server\n" +
			"web   running  -          0         " + stamp + "  " + stamp + "  python3 -m http.server\n", ""}},
		{"logs ws-1 db", run{0, "one\nthree", "two\n[workspace-service-logs] workspace_id=ws-1 service=db state=exited next_cursor=30 truncated=false\n"}},
		{"logs ws-1 db --tail-lines 1", run{0, "three", "[workspace-service-logs] workspace_id=ws-1 service=db state=exited next_cursor=30 truncated=true\n"}},
		{"logs ws-1 db --follow", run{0, "one\nthree", "two\n[workspace-service-logs] workspace_id=ws-1 service=db dropped_bytes=6\nfour\n" +
			"[workspace-service-logs] workspace_id=ws-1 service=db state=exited next_cursor=50\n"}},
		{"logs ws-1 db -f --tail-lines 1", run{0, "three", "[workspace-service-logs] workspace_id=ws-1 service=db dropped_bytes=6\nfour\n" +
			"[workspace-service-logs] workspace_id=ws-1 service=db state=exited next_cursor=50\n"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			got := pyro(t, dirs, nil, append([]string{"workspace", "service"}, strings.Split(tt.args, " ")...)...)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(run{})); diff != "" {
				t.Error(diff)
			}
		})
	}
	got := pyro(t, dirs, nil, "workspace", "service", "start", "--json", "ws-1", "slow", "--", "x")
	if e := api.UnmarshalError([]byte(got.stdout)); got.code != 125 || e == nil || e.Kind != api.KindTimeout || got.stderr != "" {
		t.Errorf("--json: got %+v", got)
	}
	if got := pyro(t, dirs, nil, "workspace", "service", "logs", "ws-1", "db", "--json", "-f"); got.code != 2 {
		t.Errorf("--json --follow: got %+v", got)
	}
	if code, _ := mainTo(dirs, brokenPipe{}, "workspace", "service", "logs", "ws-1", "db", "-f"); code != 141 {
		t.Errorf("| head: exit code %d", code)
	}
}

// TestServiceLogsUntilInterrupted follows a service that goes on.
func TestServiceLogsUntilInterrupted(t *testing.T) {
	got := signaled(t, scene(t), func(written string, send func(os.Signal)) {
		if strings.HasSuffix(written, "four\n") {
			send(syscall.SIGINT)
		}
	}, "workspace", "service", "logs", "ws-1", "web", "--follow")
	if got.code != 130 || !strings.HasSuffix(got.stdout, "four\npyro: interrupted by interrupt\n") {
		t.Errorf("got %+v", got)
	}
}

// TestServiceLogsOutliveTheBackgroundProcess cuts the call off twice, as a
// process that is replaced does.
func TestServiceLogsOutliveTheBackgroundProcess(t *testing.T) {
	dirs := clienttest.Dirs(t)
	var calls atomic.Int32
	(&clienttest.Server{Call: map[string]func(context.Context, []byte) (any, error){
		"logs_service": func(ctx context.Context, body []byte) (any, error) {
			switch calls.Add(1) {
			case 2:
				panic(http.ErrAbortHandler) // cuts the connection
			case 3:
				return nil, api.Errorf(api.KindCanceled, "the background process is stopping")
			}
			return logsService(ctx, body)
		},
	}}).Start(t, dirs)
	got := pyro(t, dirs, nil, "workspace", "service", "logs", "ws-1", "db", "--follow")
	if got.code != 0 || got.stdout != "one\nthree" || strings.Count(got.stderr, "four\n") != 1 || calls.Load() != 5 {
		t.Errorf("got %+v after %d calls", got, calls.Load())
	}
}
