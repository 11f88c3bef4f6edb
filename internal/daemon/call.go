package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"runtime/debug"
	"time"

	"pyro/api"
)

// maxBody is the largest request body in bytes.
const maxBody = 16 << 20

// headerVersion is on every answer.
const headerVersion = "Pyro-Version"

// call is one request under way.
type call struct {
	ctx     context.Context // ends when the caller goes away or the process is told to stop
	op      *api.Operation
	id      func(ref string) string // the id of the workspace that a request names
	w       http.ResponseWriter
	r       *http.Request
	log     *slog.Logger
	hide    func(error) error // takes out what the workspace that the call is about keeps secret
	hints   *api.Phrasing     // says hints in the names that the caller knows; nil as they are
	begun   time.Time
	kind    api.Kind // of the error it ended with; for the log
	vm      string   // id of the VM that a command ran in, if it got one; for the log
	started bool     // JSON lines have begun
}

// ServeHTTP serves one request.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(headerVersion, api.Version)
	c := &call{ctx: r.Context(), id: s.spaces.ID, w: w, r: r, log: s.log, begun: time.Now()}
	if p, ok := phrasings[r.Header.Get(headerSurface)]; ok {
		c.hints = &p
	}
	name := r.PathValue("operation")
	route, ok := s.table[name]
	if !ok {
		c.fail(api.Errorf(api.KindNotFound, "operation %q does not exist in pyro %s", name, api.Version).
			WithHint("client and background process may differ: pyro daemon stop"))
		return
	}
	body, err := readBody(w, r)
	if err != nil {
		c.fail(err)
		return
	}
	c.op = route.op
	end := s.life.begin(route.op)
	defer end()
	ctx, cancel := s.life.cutOff(c.ctx)
	defer cancel()
	c.ctx = ctx
	c.hide = s.spaces.Hider(s.spaces.ID(workspaceOf(body)))
	route.serve(c, body)
	log := s.log
	if c.vm != "" {
		log = log.With("vm", c.vm)
	}
	log.Info("call", "operation", route.op.Name, "id", subject(body), "kind", string(c.kind), "duration_ms", time.Since(c.begun).Milliseconds())
}

// decode reads the request into req. A workspace may be asked for by its name
// wherever an id is wanted: from here on there are only ids.
func (c *call) decode(body []byte, req any) error {
	if err := api.DecodeRequest(body, req); err != nil {
		return err
	}
	if f := reflect.ValueOf(req).Elem().FieldByName("WorkspaceID"); f.IsValid() {
		f.SetString(c.id(f.String()))
	}
	return nil
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, api.Errorf(api.KindUsage, "the request is larger than %d bytes", maxBody)
	}
	if err != nil {
		return nil, api.Errorf(api.KindCanceled, "the caller went away: %w", err)
	}
	return body, nil
}

// subject returns what the request is about, for the log: an id or a name,
// never a command, which may hold secrets.
func subject(body []byte) string {
	var req struct {
		VMID        string `json:"vm_id"`
		WorkspaceID string `json:"workspace_id"`
		Environment string `json:"environment"`
		Name        string `json:"name"`
	}
	_ = json.Unmarshal(body, &req) // it was decoded before, or is nothing we know
	for _, s := range []string{req.VMID, req.WorkspaceID, req.Environment, req.Name} {
		if s != "" {
			return s[:min(len(s), 200)]
		}
	}
	return ""
}

// guard calls f and turns a panic into an error of kind internal, so that a
// fault in one call does not end the process and with it the others.
func guard[T any](c *call, f func() (T, error)) (res T, err error) {
	defer func() {
		if v := recover(); v != nil {
			c.log.Error("panic", "operation", c.op.Name, "value", v, "stack", string(debug.Stack()))
			err = api.Errorf(api.KindInternal, "operation %s failed: %v", c.op.Name, v).
				WithHint("this is a fault in pyro; its log tells more: pyro daemon status")
		}
	}()
	res, err = f()
	if err = c.hide(err); c.hints != nil {
		c.hints.Result(&res)
		err = c.hints.Error(err)
	}
	return res, err
}

// workspaceOf returns the id of the workspace that a request is about, or "".
func workspaceOf(body []byte) string {
	var req struct {
		WorkspaceID string `json:"workspace_id"`
	}
	_ = json.Unmarshal(body, &req) // its handler tells what is wrong
	return req.WorkspaceID
}

// answer sends the result or the error of a call.
func (c *call) answer(res any, err error) {
	if err != nil {
		c.fail(err)
		return
	}
	body, err := json.Marshal(res)
	if err != nil {
		c.fail(api.Errorf(api.KindInternal, "result of %s: %w", c.op.Name, err))
		return
	}
	c.write(http.StatusOK, append(body, '\n'))
}

// fail sends an error.
func (c *call) fail(err error) {
	e := api.AsError(err)
	if c.hints != nil {
		e = api.AsError(c.hints.Error(e))
	}
	c.kind = e.Kind
	c.write(e.Kind.Info().HTTPStatus, append(api.MarshalError(e), '\n'))
}

func (c *call) write(status int, body []byte) {
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body) // a caller that is gone does not need it
}

// line sends one JSON line {key: v} at once. A caller that is gone does not need it.
func (c *call) line(key string, v any) {
	body, err := json.Marshal(map[string]any{key: v})
	if err != nil {
		c.log.Error("line", "operation", c.op.Name, "error", err)
		return
	}
	if !c.started {
		c.started = true
		c.w.Header().Set("Content-Type", "application/x-ndjson")
		c.w.WriteHeader(http.StatusOK)
	}
	_, _ = c.w.Write(append(body, '\n'))
	http.NewResponseController(c.w).Flush()
}

// endLines sends the last line, or a plain error if there was none before.
func (c *call) endLines(res any, err error) {
	switch {
	case err == nil:
		c.line("result", res)
	case !c.started:
		c.fail(err)
	default:
		c.kind = api.KindOf(err)
		_, _ = c.w.Write(append(bytes.TrimSpace(api.MarshalError(err)), '\n'))
	}
}
