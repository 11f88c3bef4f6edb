package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"pyro/api"
)

// maxAnswer bounds an answer that is held in memory, in bytes: a diff of 16 MiB
// stands in it up to three times.
const maxAnswer = 256 << 20

// Do calls an operation and returns its result.
func Do[Req, Res any](ctx context.Context, c *Client, op api.Call[Req, Res], req Req) (Res, error) {
	var res Res
	err := c.Call(ctx, op.Operation, req, &res)
	return res, err
}

// Watch calls an operation that tells its progress. onEvent, if not nil, gets
// each event as it comes; the operation waits while it runs.
func Watch[Req, Ev, Res any](ctx context.Context, c *Client, op api.EventCall[Req, Ev, Res], req Req, onEvent func(Ev)) (Res, error) {
	var res Res
	err := c.Watch(ctx, op.Operation, req, &res, func(raw json.RawMessage) error {
		if onEvent == nil {
			return nil
		}
		var ev Ev
		if err := json.Unmarshal(raw, &ev); err != nil {
			return err
		}
		onEvent(ev)
		return nil
	})
	return res, err
}

// Call is Do for an operation known only at run time; res points to a value of
// the row's result type. A row of ModeExec answers with bounded output.
//
// DaemonStatus and DaemonStop never start the background process and take one
// of any build; without one they answer that none is running. DaemonStop
// returns when the process has ended.
func (c *Client) Call(ctx context.Context, op *api.Operation, req, res any) error {
	info, aboutDaemon := res.(*api.DaemonInfo)
	conn, err := c.connect(ctx, need{start: !aboutDaemon, anyBuild: aboutDaemon})
	if aboutDaemon && errors.Is(err, errNotRunning) {
		*info = api.DaemonInfo{Socket: c.dirs.Socket(), LogFile: c.dirs.Log(), StateDir: c.dirs.State, CacheDir: c.dirs.Cache}
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := conn.post(op, req, "")
	if err != nil {
		return err
	}
	if err := decode(answer.Body, maxAnswer, res); errors.Is(err, errTooLarge) {
		return api.Errorf(api.KindUnsupported, "%s: %w, more than %d MiB", op.Name, err, maxAnswer>>20).
			WithHint("ask for less: pyro %s --help", op.CLI)
	} else if err != nil {
		return conn.broken(err)
	}
	if op.Name == api.DaemonStop.Name {
		conn.Close() // an ending process waits for those who are connected
		return c.awaitEnd(ctx, info.PID)
	}
	return nil
}

var errTooLarge = errors.New("the answer is too large")

// decode reads one JSON document of at most limit bytes.
func decode(r io.Reader, limit int64, res any) error {
	bounded := &io.LimitedReader{R: r, N: limit}
	err := json.NewDecoder(bounded).Decode(res)
	if err != nil && bounded.N == 0 {
		return errTooLarge
	}
	return err
}

// line is one line of a ModeEvents answer; one of its fields is set.
type line struct {
	Event  json.RawMessage `json:"event"`
	Result json.RawMessage `json:"result"`
	Error  *api.Error      `json:"error"`
}

// Watch is the package's Watch for an operation known only at run time. An
// error of onEvent ends the call and is returned.
func (c *Client) Watch(ctx context.Context, op *api.Operation, req, res any, onEvent func(json.RawMessage) error) error {
	conn, err := c.connect(ctx, need{start: true})
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := conn.post(op, req, "")
	if err != nil {
		return err
	}
	lines := json.NewDecoder(answer.Body)
	for {
		var l line
		if err := lines.Decode(&l); err != nil {
			return conn.broken(err)
		}
		switch {
		case l.Error != nil:
			return l.Error
		case l.Result != nil:
			return json.Unmarshal(l.Result, res)
		case l.Event != nil:
			if err := onEvent(l.Event); err != nil {
				return err
			}
		}
	}
}

// errorOf reads the error of an answer that is not a success.
func errorOf(answer *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if e := api.UnmarshalError(body); e != nil {
		return e
	}
	return api.Errorf(api.KindInternal, "the background process answered %s", answer.Status).
		WithHint("pyro daemon stop, then try again")
}
