package wire

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"

	"pyro/internal/frame"
)

// peer is the agent's end of a connection, driven by the test.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   *frame.Reader
	out  *frame.Writer
}

func newPeer(t *testing.T) (*peer, net.Conn) {
	host, guest := net.Pipe()
	t.Cleanup(func() { host.Close(); guest.Close() })
	return &peer{t, guest, frame.NewReader(guest), frame.NewWriter(guest)}, host
}

func (p *peer) say(t frame.Type, v any) {
	p.t.Helper()
	if err := p.out.WriteJSON(t, v); err != nil {
		p.t.Error(err)
	}
}

func (p *peer) hear() Call {
	p.t.Helper()
	var c Call
	_, b, err := p.in.Next()
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		p.t.Error(err)
	}
	return c
}

func dial(t *testing.T) (*peer, *Client) {
	t.Helper()
	p, host := newPeer(t)
	go p.say(FrameHello, Hello{Protocol: Protocol})
	c, err := NewClient(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	return p, c
}

func TestNewClientRefuses(t *testing.T) {
	for name, hello := range map[string]func(*peer){
		"another protocol": func(p *peer) { p.say(FrameHello, Hello{Protocol: Protocol + 1}) },
		"not understood":   func(p *peer) { p.say(FrameReply, Hello{Protocol: Protocol}) },
		"EOF":              func(p *peer) { p.conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			p, host := newPeer(t)
			go hello(p)
			if _, err := NewClient(t.Context(), host); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestNewClientIsCanceled(t *testing.T) {
	_, host := newPeer(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	if _, err := NewClient(ctx, host); !errors.Is(err, cause) {
		t.Errorf("error %v, want the cause", err)
	}
}

func TestAnswersInAnyOrder(t *testing.T) {
	p, c := dial(t)
	go func() {
		first, second := p.hear(), p.hear()
		p.say(FrameReply, Reply{ID: second.ID, Result: json.RawMessage(`{"pids":2}`)})
		p.say(FrameReply, Reply{ID: first.ID, Result: json.RawMessage(`{"pids":1}`)})
	}()
	results := make(chan StatsResult, 2)
	for range 2 {
		go func() {
			var s StatsResult
			if err := c.Call(t.Context(), Stats, nil, &s); err != nil {
				t.Error(err)
			}
			results <- s
		}()
	}
	if a, b := <-results, <-results; a.PIDs+b.PIDs != 3 {
		t.Errorf("results %+v and %+v, want 1 and 2", a, b)
	}
}

func TestCanceledCallLeavesTheStreamUsable(t *testing.T) {
	p, c := dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Call(ctx, Ping, nil, nil) }()
	late := p.hear()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	go func() {
		p.say(FrameReply, Reply{ID: late.ID})
		p.say(FrameReply, Reply{ID: p.hear().ID})
	}()
	if err := c.Call(t.Context(), Ping, nil, nil); err != nil {
		t.Errorf("call after a canceled one: %v", err)
	}
}

func TestForgedAnswerEndsTheStream(t *testing.T) {
	p, c := dial(t)
	go p.say(FrameReply, Reply{ID: 77})
	<-c.Done()
	if err := c.Call(t.Context(), Ping, nil, nil); err == nil || !strings.Contains(err.Error(), "never made") {
		t.Errorf("error %v", err)
	}
}

func TestAgentsErrorIsReported(t *testing.T) {
	p, c := dial(t)
	go func() { p.say(FrameReply, Reply{ID: p.hear().ID, Error: "no such thing"}) }()
	if err := c.Call(t.Context(), Ping, nil, nil); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("error %v", err)
	}
}

type bytesConn struct {
	*strings.Reader
	closed bool
}

func (c *bytesConn) Write(p []byte) (int, error) { return len(p), nil }
func (c *bytesConn) Close() error                { c.closed = true; return nil }

// FuzzClient lets a hostile guest say anything.
func FuzzClient(f *testing.F) {
	hello, _ := json.Marshal(Hello{Protocol: Protocol})
	f.Add(append([]byte{byte(FrameHello), 0, 0, 0, byte(len(hello))}, hello...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := NewClient(t.Context(), &bytesConn{Reader: strings.NewReader(string(b))})
		if err != nil {
			return
		}
		<-c.Done()
		if err := c.Call(t.Context(), Ping, nil, nil); err == nil {
			t.Error("a call succeeded on a stream that has ended")
		}
	})
}
