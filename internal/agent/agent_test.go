package agent

import (
	"encoding/json"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/internal/agent/wire"
	"pyro/internal/frame"
)

// connect serves a guest on one end of a connection and returns a client.
func connect(t *testing.T) *wire.Client {
	t.Helper()
	host, guestEnd := net.Pipe()
	g := &guest{problems: []string{"folder /x: full"}}
	go func() {
		g.serve(guestEnd)
		guestEnd.Close()
	}()
	c, err := wire.NewClient(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestHelloAndCalls(t *testing.T) {
	c := connect(t)
	want := wire.Hello{Protocol: wire.Protocol, Version: Version, Problems: []string{"folder /x: full"}}
	if diff := cmp.Diff(want, c.Hello); diff != "" {
		t.Errorf("hello (-want +got):\n%s", diff)
	}
	if err := c.Call(t.Context(), wire.Ping, nil, nil); err != nil {
		t.Errorf("ping: %v", err)
	}
	var s wire.StatsResult
	if err := c.Call(t.Context(), wire.Stats, nil, &s); err != nil || s.DiskBytes <= 0 {
		t.Errorf("stats = %+v, %v; want the used bytes of the root file system", s, err)
	}
	if err := c.Call(t.Context(), "fly", nil, nil); err == nil || !strings.Contains(err.Error(), `"fly" is not known`) {
		t.Errorf("unknown method: error %v", err)
	}
}

func TestServeEndsAtAForeignFrame(t *testing.T) {
	host, guestEnd := net.Pipe()
	ended := make(chan struct{})
	go func() {
		(&guest{}).serve(guestEnd)
		guestEnd.Close()
		close(ended)
	}()
	in := frame.NewReader(host)
	if _, _, err := in.Next(); err != nil {
		t.Fatal(err)
	}
	if err := frame.NewWriter(host).Write(99, nil); err != nil {
		t.Fatal(err)
	}
	<-ended
}

func FuzzServe(f *testing.F) {
	call, _ := json.Marshal(wire.Call{ID: 1, Method: wire.Ping})
	f.Add(append([]byte{byte(wire.FrameCall), 0, 0, 0, byte(len(call))}, call...))
	for _, method := range []wire.Method{wire.ShellRead, wire.ServiceStart, wire.KillLargest} {
		call, _ := json.Marshal(wire.Call{ID: 2, Method: method, Params: json.RawMessage(`{"id":"x","name":"x","argv":["true"]}`)})
		f.Add(append([]byte{byte(wire.FrameCall), 0, 0, 0, byte(len(call))}, call...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		spare := func(int, syscall.Signal) error { return syscall.EPERM }
		(&guest{kill: spare}).serve(&struct {
			*strings.Reader
			discard
		}{strings.NewReader(string(b)), discard{}})
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
