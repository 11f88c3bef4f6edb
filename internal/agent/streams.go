package agent

import (
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync"

	"pyro/internal/agent/wire"
	"pyro/internal/frame"
)

// streams serves what a host asks for that can start no process in the guest by
// itself, see package wire.
type streams struct {
	guest  *guest
	layers map[string]layerOf // by mount

	mu     sync.Mutex // guards inputs
	inputs map[string]chan net.Conn
}

func newStreams(g *guest, layers map[string]layerOf) *streams {
	return &streams{guest: g, layers: layers, inputs: map[string]chan net.Conn{}}
}

// serve serves one stream to its end.
func (s *streams) serve(conn net.Conn) {
	in := frame.NewReader(conn)
	t, payload, err := in.Next()
	var open wire.Open
	if err != nil || t != wire.FrameOpen || json.Unmarshal(payload, &open) != nil {
		conn.Close()
		return
	}
	switch {
	case open.Service == wire.ServiceControl:
		defer conn.Close()
		s.guest.serve(conn)
	case open.Service == wire.ServiceExec && open.Exec != nil:
		defer conn.Close()
		s.exec(conn, in, *open.Exec)
	case open.Service == wire.ServiceInput:
		s.deliver(open.Input, conn)
	case open.Service == wire.ServiceLayers && open.Layers != nil:
		defer conn.Close()
		s.exportLayers(conn, *open.Layers)
	default:
		conn.Close()
	}
}

// expect announces the stream of a command's input.
func (s *streams) expect(name string) chan net.Conn {
	coming := make(chan net.Conn, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inputs[name] = coming
	return coming
}

// deliver hands a stream over to the command that waits for it.
func (s *streams) deliver(name string, conn net.Conn) {
	s.mu.Lock()
	coming := s.inputs[name]
	delete(s.inputs, name)
	s.mu.Unlock()
	if coming == nil {
		conn.Close() // the command has ended already
		return
	}
	coming <- conn
}

// forget takes back what expect announced, and ends the stream if it has come.
func (s *streams) forget(name string, coming chan net.Conn) {
	s.mu.Lock()
	delete(s.inputs, name)
	s.mu.Unlock()
	select {
	case conn := <-coming:
		conn.Close()
	default:
	}
}

// failed says in a frame why nothing was done.
func failed(err error) wire.Failed {
	f := wire.Failed{Kind: wire.KindInternal, Message: err.Error()}
	if e, ok := errors.AsType[*wire.Error](err); ok {
		f.Kind, f.Message = e.Kind, e.Message
	}
	if len(f.Message) > maxError {
		f.Message = strings.ToValidUTF8(f.Message[:maxError], "")
	}
	return f
}
