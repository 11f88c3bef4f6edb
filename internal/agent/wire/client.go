package wire

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"pyro/internal/frame"
)

// Client is the host's end of a stream. It may be used by several goroutines.
type Client struct {
	// Hello is what the agent said of itself.
	Hello Hello

	conn io.ReadWriteCloser
	out  *frame.Writer
	done chan struct{} // closed when the reader has ended

	mu      sync.Mutex // guards what follows
	next    uint64
	waiting map[uint64]chan Reply
	err     error // why the stream ended
}

// NewClient reads the agent's hello and returns a client, which owns conn from
// then on. Cancelling ctx closes conn.
func NewClient(ctx context.Context, conn io.ReadWriteCloser) (*Client, error) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	in := frame.NewReader(bufio.NewReader(conn))
	hello, err := readHello(in)
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	c := &Client{
		Hello:   hello,
		conn:    conn,
		out:     frame.NewWriter(conn),
		done:    make(chan struct{}),
		waiting: make(map[uint64]chan Reply),
	}
	go c.read(in)
	return c, nil
}

func readHello(in *frame.Reader) (Hello, error) {
	t, payload, err := in.Next()
	if err != nil {
		return Hello{}, fmt.Errorf("guest agent's hello: %w", err)
	}
	var h Hello
	if t != FrameHello || json.Unmarshal(payload, &h) != nil {
		return Hello{}, errors.New("guest agent's hello is not understood")
	}
	if h.Protocol != Protocol {
		return Hello{}, fmt.Errorf("guest agent speaks protocol %d, this pyro speaks %d", h.Protocol, Protocol)
	}
	return h, nil
}

// Call makes one call and decodes the answer into result, which may be nil. If
// ctx ends first, the answer is dropped; the agent may still do what was asked.
func (c *Client) Call(ctx context.Context, method Method, params, result any) error {
	call := Call{Method: method}
	if params != nil {
		b, err := json.Marshal(params)
		if err != nil {
			return err
		}
		call.Params = b
	}
	answer := make(chan Reply, 1)
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	c.next++
	call.ID = c.next
	c.waiting[call.ID] = answer
	c.mu.Unlock()
	defer c.forget(call.ID)

	if err := c.out.WriteJSON(FrameCall, call); err != nil {
		return fmt.Errorf("guest agent: %w", err)
	}
	select {
	case reply := <-answer:
		if reply.Error != "" && reply.Kind != "" {
			return &Error{Kind: knownKind(reply.Kind), Message: reply.Error}
		}
		if reply.Error != "" {
			return fmt.Errorf("guest agent: %s: %s", method, reply.Error)
		}
		if result == nil {
			return nil
		}
		if err := json.Unmarshal(reply.Result, result); err != nil {
			return fmt.Errorf("guest agent: %s: %w", method, err)
		}
		return nil
	case <-c.done:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// forget drops the interest in an answer. The id stays known as given, so that
// an answer that comes too late is not taken for a forged one.
func (c *Client) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// Close ends the stream.
func (c *Client) Close() error {
	err := c.conn.Close()
	<-c.done
	return err
}

// Done is closed when the stream has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

func (c *Client) read(in *frame.Reader) {
	err := c.deliverAll(in)
	c.mu.Lock()
	c.err = fmt.Errorf("guest agent's stream ended: %w", err)
	c.mu.Unlock()
	c.conn.Close()
	close(c.done)
}

func (c *Client) deliverAll(in *frame.Reader) error {
	for {
		t, payload, err := in.Next()
		if err != nil {
			return err
		}
		var reply Reply
		if t != FrameReply {
			return fmt.Errorf("unexpected frame of type %d", t)
		}
		if err := json.Unmarshal(payload, &reply); err != nil {
			return err
		}
		c.mu.Lock()
		answer, known := c.waiting[reply.ID], reply.ID <= c.next
		delete(c.waiting, reply.ID)
		c.mu.Unlock()
		if !known {
			return fmt.Errorf("answer to call %d, which was never made", reply.ID)
		}
		if answer != nil {
			answer <- reply
		}
	}
}
