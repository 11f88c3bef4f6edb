package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"

	"pyro/internal/agent/wire"
	"pyro/internal/frame"
)

// pipePair joins two pipes to one stream.
type pipePair struct{ in, out *os.File }

func (p pipePair) Read(b []byte) (int, error)  { return p.in.Read(b) }
func (p pipePair) Write(b []byte) (int, error) { return p.out.Write(b) }

func (p pipePair) Close() error {
	p.out.Close()
	return p.in.Close()
}

// serve answers the calls of one stream until it ends.
func (g *guest) serve(stream io.ReadWriter) {
	out := frame.NewWriter(stream)
	if out.WriteJSON(wire.FrameHello, g.hello()) != nil {
		return
	}
	in := frame.NewReader(stream)
	for {
		t, payload, err := in.Next()
		if err != nil || t != wire.FrameCall {
			return
		}
		var call wire.Call
		if json.Unmarshal(payload, &call) != nil {
			return
		}
		reply := wire.Reply{ID: call.ID}
		result, err := g.answer(call)
		if err == nil {
			reply.Result, err = json.Marshal(result)
		}
		if err != nil {
			reply.Error = err.Error()
		}
		if out.WriteJSON(wire.FrameReply, reply) != nil {
			return
		}
	}
}

func (g *guest) answer(call wire.Call) (any, error) {
	switch call.Method {
	case wire.Ping:
		return struct{}{}, nil
	case wire.Stats:
		return g.stats()
	case wire.KillLargest:
		var p wire.KillLargestParams
		if err := json.Unmarshal(call.Params, &p); err != nil {
			return nil, err
		}
		return killLargest(p.MinRSSBytes, g.kill)
	case wire.KillSession:
		var p wire.KillSessionParams
		if err := json.Unmarshal(call.Params, &p); err != nil {
			return nil, err
		}
		return struct{}{}, killSession(p.PID, g.kill)
	}
	return nil, fmt.Errorf("method %q is not known", call.Method)
}

// relay joins stdin and stdout to the agent's socket. The host runs it in the
// guest to reach an agent whose pipes it does not hold.
func relay(in io.Reader, out io.Writer) int {
	conn, err := net.Dial("unix", socketName)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	go func() {
		_, _ = io.Copy(conn, in)
		_ = conn.(*net.UnixConn).CloseWrite()
	}()
	if _, err := io.Copy(out, conn); err != nil {
		return exitFailed
	}
	return 0
}
