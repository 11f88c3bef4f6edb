package client

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"pyro/api"
	"pyro/internal/frame"
)

// stdinPiece is how many bytes of stdin go into one frame at most.
const stdinPiece = 32 << 10

// stdin sends the input of a command, of which at most api.StdinWindow bytes
// are under way: sent and not yet taken by the command.
type stdin struct {
	ctx context.Context // ends with the call
	out *frame.Writer

	mu   sync.Mutex // guards room
	room int        // bytes that may be sent

	more chan struct{} // holds a token when room may have grown
}

// send sends r to its end. A failing read ends the call: a command must not
// take half an input for a whole one. Errors of the connection end sending
// only, because receive reports them.
func (s *stdin) send(r io.Reader, cancel context.CancelCauseFunc) {
	buf := make([]byte, stdinPiece)
	for r != nil {
		room := s.wait()
		if room == 0 {
			return
		}
		n, err := r.Read(buf[:min(room, len(buf))])
		if n > 0 {
			s.spend(n)
			if s.out.Write(api.FrameStdin, buf[:n]) != nil {
				return
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			cancel(fmt.Errorf("stdin: %w", err))
			return
		}
	}
	_ = s.out.Write(api.FrameStdinEOF, nil) // see above
}

// wait returns how much may be sent as soon as something may be, or 0 when the
// call has ended.
func (s *stdin) wait() int {
	for s.ctx.Err() == nil {
		s.mu.Lock()
		room := s.room
		s.mu.Unlock()
		if room > 0 {
			return room
		}
		select {
		case <-s.more:
		case <-s.ctx.Done():
		}
	}
	return 0
}

func (s *stdin) spend(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room -= n
}

// taken handles a frame that says what the command has taken.
func (s *stdin) taken(payload []byte) error {
	if len(payload) != 4 {
		return fmt.Errorf("a frame about taken stdin has %d bytes, not 4", len(payload))
	}
	n := binary.BigEndian.Uint32(payload)
	s.mu.Lock()
	defer s.mu.Unlock()
	if int64(n) > int64(api.StdinWindow-s.room) {
		return fmt.Errorf("%d bytes of stdin are said to be taken, of %d sent", n, api.StdinWindow-s.room)
	}
	s.room += int(n)
	select {
	case s.more <- struct{}{}:
	default: // send has not looked yet at what there was before
	}
	return nil
}
