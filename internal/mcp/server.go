package mcp

import (
	"context"
	"encoding/json"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"pyro/api"
	"pyro/client"
	"pyro/internal/mcp/conformance"
)

const (
	// DefaultAnswerWithin stays below the minute after which clients give up.
	DefaultAnswerWithin = 50 * time.Second
	// DefaultMaxText is 16 KiB: some 4,000 tokens.
	DefaultMaxText = 16 << 10
	// maxRequest bounds one message from a client, in bytes.
	maxRequest = 4 << 20
	// heartbeat is how often a client that asked for progress hears that a
	// call still runs.
	heartbeat = 5 * time.Second
)

// Options configure a Server.
type Options struct {
	// Client calls the operations. Required.
	Client *client.Client
	// Profile is the name of one of Profiles; DefaultProfile if empty.
	Profile string
	// AnswerWithin is after how long a command of a workspace that still runs
	// is answered for. Default: DefaultAnswerWithin.
	AnswerWithin time.Duration
	// MaxText bounds the text of an answer, in bytes. Default: DefaultMaxText.
	MaxText int
	// Project is a folder of the host whose files a workspace begins with when
	// its creator names no seed: those that git tracks, if it is in a checkout.
	// Default: such a workspace begins empty.
	Project string
	// Conformance offers what the conformance suite of the protocol asks for
	// too; see package conformance.
	Conformance bool
	// Log gets what the protocol library has to say. Default: nothing.
	Log *slog.Logger
}

// Server is the MCP server. It serves any number of sessions until Close.
type Server struct {
	Options
	profile Profile
	words   func(string) string
	hints   api.Phrasing
	server  *mcp.Server
	kept    *kept
	calls   calls
	beat    time.Duration // heartbeat, but for tests

	life context.Context // of everything that runs for a client
	end  context.CancelFunc
	left left // commands that were answered for and still run
}

// New makes a server. It neither listens nor connects to anything.
func New(opts Options) (*Server, error) {
	profile, err := findProfile(opts.Profile)
	if err != nil {
		return nil, err
	}
	if opts.AnswerWithin <= 0 {
		opts.AnswerWithin = DefaultAnswerWithin
	}
	if opts.MaxText <= 0 {
		opts.MaxText = DefaultMaxText
	}
	s := &Server{Options: opts, profile: profile, words: profile.words(), hints: profile.phrasing(), kept: newKept(), beat: heartbeat}
	s.life, s.end = context.WithCancel(context.Background())
	s.server = s.protocol()
	for _, op := range profile.rows() {
		t := newTool(op, profile, s.words, s.Project)
		s.server.AddTool(t.definition(opts.MaxText), s.handler(t))
	}
	s.kept.register(s.server)
	return s, nil
}

// protocol makes the server of the protocol library, without tools.
func (s *Server) protocol() *mcp.Server {
	opts := mcp.ServerOptions{
		Instructions: s.instructions(),
		Logger:       s.Log,
		Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}, Resources: &mcp.ResourceCapabilities{}},
	}
	if s.Conformance {
		conformance.Prepare(&opts)
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "pyro", Title: "pyro: disposable Linux sandboxes", Version: api.Version}, &opts)
	if s.Conformance {
		conformance.Offer(server)
	}
	return server
}

// Close ends every call and waits for them and for the commands that were left
// running. Later calls fail.
func (s *Server) Close() {
	s.end()
	s.calls.close()
	s.left.Wait()
}

// handler makes the tool's handler. Errors of pyro are results; see answer.
func (s *Server) handler(t tool) mcp.ToolHandler {
	return func(ctx context.Context, call *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		ctx, done, err := s.calls.begin(ctx, s.life, call.Session.ID())
		if err != nil {
			return s.failure(err), nil
		}
		defer done()
		req, limit, err := t.request(call.Params.Arguments, s.MaxText)
		if err != nil {
			return s.failure(err), nil
		}
		progress := s.progress(ctx, call)
		defer progress.end()
		res, err := s.perform(ctx, t, req, call.Params.Arguments, progress)
		if err != nil {
			return s.failure(err), nil
		}
		return s.answer(res, limit)
	}
}

// perform calls the operation. The result points to a value of the tool's
// result type.
func (s *Server) perform(ctx context.Context, t tool, req any, arguments json.RawMessage, progress *progress) (any, error) {
	if create, ok := req.(*api.CreateWorkspaceRequest); ok {
		return s.create(ctx, t, create, arguments, progress)
	}
	if t.op.Mode == api.ModeExec {
		return s.command(ctx, t, req, progress)
	}
	res := reflect.New(t.op.Result).Interface()
	if t.op.Mode == api.ModeEvents {
		return res, s.watch(ctx, t, req, res, progress)
	}
	return res, s.Client.Call(ctx, t.op, req, res)
}

// watch calls an operation that tells how far it is.
func (s *Server) watch(ctx context.Context, t tool, req, res any, progress *progress) error {
	return s.Client.Watch(ctx, t.op, req, res, func(event json.RawMessage) error {
		progress.event(event)
		return nil
	})
}

// calls knows the calls that run, so that a session's end can end them: the
// protocol library would wait for them instead.
type calls struct {
	all sync.WaitGroup

	mu     sync.Mutex // guards the rest, and that all grows
	closed bool
	next   int
	// running has the calls of each session; sessions of stdio have no id.
	running map[string]map[int]context.CancelCauseFunc
}

var errEnds = api.Errorf(api.KindCanceled, "the MCP server ends")

// begin returns a context for a call of a session. It ends with ctx, with life
// and with the session. The caller calls done behind the call.
func (c *calls) begin(ctx, life context.Context, session string) (_ context.Context, done func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, errEnds
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(life, func() { cancel(errEnds) })
	if c.running == nil {
		c.running = map[string]map[int]context.CancelCauseFunc{}
	}
	if c.running[session] == nil {
		c.running[session] = map[int]context.CancelCauseFunc{}
	}
	id := c.next
	c.next++
	c.running[session][id] = cancel
	c.all.Add(1)
	return ctx, func() {
		stop()
		cancel(nil)
		c.forget(session, id)
		c.all.Done()
	}, nil
}

func (c *calls) forget(session string, id int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if delete(c.running[session], id); len(c.running[session]) == 0 {
		delete(c.running, session)
	}
}

// endSession ends the calls of a session.
func (c *calls) endSession(session string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cancel := range c.running[session] {
		cancel(api.Errorf(api.KindCanceled, "the session ends"))
	}
}

// close lets no more calls begin and waits for those that run.
func (c *calls) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.all.Wait()
}
