package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"pyro/internal/agent/wire"
	"pyro/internal/frame"
)

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
	ahead := bufio.NewReader(conn) // a call is one read: each goes through the guest's kernel
	in := frame.NewReader(ahead)
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
			s.tunnel(ctx, ahead, conn, call)
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
