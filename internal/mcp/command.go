package mcp

import (
	"context"
	"io"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"pyro/api"
	"pyro/client"
)

// maxLeft is how many commands may run on after they were answered for. Beyond
// it a call waits for its command's end.
const maxLeft = 32

// commandAnswer is the structured content of a command's answer: its result,
// and what there is to say while it still runs.
type commandAnswer struct {
	State api.CommandState `json:"state" doc:"exited; or running: it takes longer than this server waits and goes on, see hint"`
	api.ExecResult
	ExitCode   *int   `json:"exit_code" doc:"the command's own code, null while it runs; 128+n after signal n, 124 after the time limit, 126 and 127 if it could not be started"`
	Stdout     string `json:"stdout" doc:"its output, invalid UTF-8 replaced, cut in the middle when it is long"`
	Stderr     string `json:"stderr" doc:"its error output, likewise"`
	StdoutPath string `json:"stdout_path,omitempty" doc:"if stdout is cut: the host file with what is kept of it"`
	StderrPath string `json:"stderr_path,omitempty" doc:"likewise"`
	Hint       string `json:"hint,omitempty" doc:"how to ask for a command that still runs"`
}

// command runs a command. If it is in a workspace, whose log will tell how it
// ends, and takes longer than AnswerWithin, the answer says that it still runs.
func (s *Server) command(ctx context.Context, t tool, req any, progress *progress) (*commandAnswer, error) {
	r := &run{started: time.Now(), ended: make(chan struct{})}
	runCtx, cancel := context.WithCancelCause(s.life)
	follow := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	s.left.Go(func() {
		defer cancel(nil)
		r.start(runCtx, s.Client, t.op, req, progress)
	})
	patience := time.NewTimer(s.AnswerWithin)
	defer patience.Stop()
	select {
	case <-r.ended:
		return s.exited(ctx, r)
	case <-patience.C:
	}
	if event := r.event.Load(); event != nil && s.mayLeave(event) && follow() {
		s.left.leave(r.ended)
		return s.running(t, req, r, event), nil
	}
	<-r.ended
	return s.exited(ctx, r)
}

// mayLeave reports whether a command may run on without its caller: the command
// log must tell of it, and there must be a tool that reads the log.
func (s *Server) mayLeave(event *api.ExecEvent) bool {
	return event.Sequence > 0 && s.profile.offers(api.LogsWorkspace.Operation) && s.left.room()
}

// run is one command under way.
type run struct {
	started        time.Time
	stdout, stderr output
	event          atomic.Pointer[api.ExecEvent] // the last one
	ended          chan struct{}                 // closed when res and err are there
	res            api.ExecResult
	err            error
}

func (r *run) start(ctx context.Context, c *client.Client, op *api.Operation, req any, progress *progress) {
	defer close(r.ended)
	r.res, r.err = c.Exec(ctx, op, req, client.Stdio{
		Stdout: &r.stdout, Stderr: &r.stderr,
		OnPull: progress.pull,
		OnEvent: func(event api.ExecEvent) {
			r.event.Store(&event)
			progress.phase(event)
		},
	})
}

// output collects what a command writes and counts it.
type output struct {
	api.Output
	bytes atomic.Int64
}

func (o *output) Write(p []byte) (int, error) {
	o.bytes.Add(int64(len(p)))
	return o.Output.Write(p)
}

var _ io.Writer = (*output)(nil)

// exited is the answer about a command that has ended.
func (s *Server) exited(ctx context.Context, r *run) (*commandAnswer, error) {
	if r.err != nil {
		return nil, r.err
	}
	a := &commandAnswer{State: api.CommandExited, ExecResult: r.res, ExitCode: &r.res.ExitCode}
	a.collect(r)
	if long := a.StdoutTruncated || a.StderrTruncated || len(a.Stdout)+len(a.Stderr) > s.MaxText; long && a.WorkspaceID != "" {
		s.locate(ctx, a)
	}
	return a, nil
}

// collect takes the output there is.
func (a *commandAnswer) collect(r *run) {
	a.Stdout, a.StdoutTruncated = r.stdout.Text()
	a.Stderr, a.StderrTruncated = r.stderr.Text()
	a.StdoutBytes, a.StderrBytes = r.stdout.bytes.Load(), r.stderr.bytes.Load()
}

// locate names the files with the whole output. Without them the answer is
// still right, so that an error is nobody's concern.
func (s *Server) locate(ctx context.Context, a *commandAnswer) {
	log, err := client.Do(ctx, s.Client, api.LogsWorkspace, api.LogsWorkspaceRequest{WorkspaceID: a.WorkspaceID, Sequence: a.Sequence, MaxBytes: 1})
	if err == nil && len(log.Commands) == 1 {
		a.StdoutPath, a.StderrPath = log.Commands[0].StdoutPath, log.Commands[0].StderrPath
	}
}

// running is the answer about a command that goes on.
func (s *Server) running(t tool, req any, r *run, event *api.ExecEvent) *commandAnswer {
	a := &commandAnswer{State: api.CommandRunning}
	a.WorkspaceID, a.Sequence, a.ExecutionMode = event.WorkspaceID, event.Sequence, event.ExecutionMode
	a.DurationMS = time.Since(r.started).Milliseconds()
	for _, p := range t.params {
		if p.Rest {
			a.Command, _ = reflect.ValueOf(req).Elem().FieldByIndex(p.Index).Interface().([]string)
		}
	}
	a.collect(r)
	a.Hint = api.LogsWorkspace.MCP + " with this workspace_id and sequence shows what it has written and, in the end, its exit code. Its time limit still counts."
	return a
}

// left counts the commands that were answered for, and waits for all commands.
type left struct {
	sync.WaitGroup
	n atomic.Int32
}

func (l *left) room() bool { return l.n.Load() < maxLeft }

// leave counts a command until it has ended.
func (l *left) leave(ended <-chan struct{}) {
	l.n.Add(1)
	l.Go(func() {
		<-ended
		l.n.Add(-1)
	})
}
