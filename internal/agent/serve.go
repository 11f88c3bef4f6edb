package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

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

// maxCalls is how many calls of one stream may run at the same time.
const maxCalls = 256

// stream is one connection of the host.
type stream struct {
	guest *guest
	out   *frame.Writer
	slots chan struct{} // holds one for each call that runs
	calls sync.WaitGroup
	late  sync.Mutex // held while a late result is made and sent, so that there is one at a time
}

// serve answers the calls of one connection until it ends, and returns when
// none of them runs any more.
func (g *guest) serve(conn io.ReadWriter) {
	s := &stream{guest: g, out: frame.NewWriter(conn), slots: make(chan struct{}, maxCalls)}
	if s.out.WriteJSON(wire.FrameHello, g.hello()) != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer s.calls.Wait()
	defer cancel()
	in := frame.NewReader(conn)
	for {
		t, payload, err := in.Next()
		if err != nil || t != wire.FrameCall {
			return
		}
		var call wire.Call
		if json.Unmarshal(payload, &call) != nil {
			return
		}
		if call.Method == wire.Connect {
			s.tunnel(ctx, conn, call)
			return
		}
		select {
		case s.slots <- struct{}{}:
		default:
			if s.send(call.ID, nil, fmt.Errorf("%d calls run already, the most that may", maxCalls)) != nil {
				return
			}
			continue
		}
		s.calls.Go(func() {
			defer func() { <-s.slots }()
			// An error means that the stream has ended, which the loop notices.
			_ = s.reply(ctx, call)
		})
	}
}

// reply makes one call and sends its answer.
func (s *stream) reply(ctx context.Context, call wire.Call) error {
	result, err := s.guest.answer(ctx, call)
	if make, ok := result.(late); ok && err == nil {
		s.late.Lock()
		defer s.late.Unlock()
		result, err = make()
	}
	return s.send(call.ID, result, err)
}

func (s *stream) send(id uint64, result any, err error) error {
	reply := wire.Reply{ID: id}
	if err == nil {
		reply.Result, err = json.Marshal(result)
	}
	if err == nil && len(reply.Result) > frame.MaxPayload-replyOverhead {
		err = fmt.Errorf("the answer has %d bytes, which no frame can carry", len(reply.Result))
	}
	if err != nil {
		setError(&reply, err)
	}
	return s.out.WriteJSON(wire.FrameReply, reply)
}

// replyOverhead is more than a reply has beside its result.
const replyOverhead = 1 << 10

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
