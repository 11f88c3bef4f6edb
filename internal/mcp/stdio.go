package mcp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// ServeStdio serves one session on in and out until in ends, out fails or ctx
// ends, and closes the server. The end of in is no error. A client that does
// not read its answers cannot hold up the end of ctx.
func (s *Server) ServeStdio(ctx context.Context, in io.Reader, out io.Writer) error {
	served := make(chan error, 1)
	go func() {
		err := s.server.Run(ctx, &lines{in: in, out: out})
		s.Close()
		served <- err
	}()
	var patience <-chan time.Time
	ended := ctx.Done()
	for {
		select {
		case err := <-served:
			if errors.Is(err, io.EOF) || errors.Is(err, mcp.ErrConnectionClosed) {
				return nil
			}
			return err
		case <-ended:
			s.end()
			patience, ended = time.After(closeTime), nil
		case <-patience:
			return ctx.Err()
		}
	}
}

// lines is the transport of stdio: a message a line. The library's own ends the
// session at the first line that is no message; this one answers it with an
// error and goes on, as its client may have printed something by mistake.
type lines struct {
	in  io.Reader
	out io.Writer
}

// Connect is for the library.
func (l *lines) Connect(context.Context) (mcp.Connection, error) {
	c := &lineConn{out: l.out, in: make(chan incoming), closed: make(chan struct{})}
	go c.read(bufio.NewReaderSize(l.in, 64<<10))
	return c, nil
}

// incoming is a message, or the end of the input.
type incoming struct {
	message jsonrpc.Message
	err     error
}

type lineConn struct {
	in     chan incoming
	closed chan struct{}
	once   sync.Once // closes closed

	mu  sync.Mutex // guards out: a message is written whole
	out io.Writer
}

// read passes on the messages of r. A read that blocks may outlive the
// connection: nothing can interrupt it.
func (c *lineConn) read(r *bufio.Reader) {
	for {
		line, err := readLine(r, maxRequest)
		var last bool
		switch {
		case errors.Is(err, errLongLine):
			c.refuse(jsonrpc.CodeInvalidRequest, err.Error())
		case err != nil:
			last = !c.pass(incoming{err: err})
		case len(line) > 0:
			last = !c.messages(line)
		}
		if last || err != nil && !errors.Is(err, errLongLine) {
			return
		}
	}
}

// messages passes on what a line holds and reports whether anybody wants more.
// A batch, which one version of the protocol knows, is taken apart.
func (c *lineConn) messages(line []byte) bool {
	documents := []json.RawMessage{line}
	if line[0] == '[' {
		documents = nil
		if err := json.Unmarshal(line, &documents); err == nil && len(documents) == 0 {
			c.refuse(jsonrpc.CodeInvalidRequest, "the batch is empty")
			return true
		} else if err != nil {
			c.refuse(jsonrpc.CodeParseError, "the line is not JSON: "+err.Error())
			return true
		}
	}
	for _, doc := range documents {
		if !json.Valid(doc) {
			c.refuse(jsonrpc.CodeParseError, "the line is not JSON")
			continue
		}
		message, err := jsonrpc.DecodeMessage(doc)
		if err != nil {
			c.refuse(jsonrpc.CodeInvalidRequest, "the line is no JSON-RPC 2.0 message: "+err.Error())
			continue
		}
		if !c.pass(incoming{message: message}) {
			return false
		}
	}
	return true
}

// pass hands over to Read and reports whether there is one.
func (c *lineConn) pass(m incoming) bool {
	select {
	case c.in <- m:
		return true
	case <-c.closed:
		return false
	}
}

// refuse answers what is no message. Which request it was meant to be is not
// known, so the id is null.
func (c *lineConn) refuse(code int64, message string) {
	text, _ := json.Marshal(message)                                                                          // a string
	_ = c.write(fmt.Appendf(nil, `{"jsonrpc":"2.0","id":null,"error":{"code":%d,"message":%s}}`, code, text)) // if it fails, the next Write says so
}

// Read returns the next message.
func (c *lineConn) Read(ctx context.Context) (jsonrpc.Message, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.closed:
		return nil, io.EOF
	case m := <-c.in:
		return m.message, m.err
	}
}

// Write sends a message.
func (c *lineConn) Write(_ context.Context, message jsonrpc.Message) error {
	doc, err := jsonrpc.EncodeMessage(message)
	if err != nil {
		return err
	}
	return c.write(doc)
}

func (c *lineConn) write(doc []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.out.Write(append(doc, '\n'))
	return err
}

// Close ends Read. It may be called more than once.
func (c *lineConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// SessionID is empty: there is one session.
func (c *lineConn) SessionID() string { return "" }

var errLongLine = fmt.Errorf("the message has more than %d MiB", maxRequest>>20)

// readLine reads a line of at most limit bytes and returns it without the space
// around it. Of a longer one it skips the rest and returns errLongLine. The last
// line may end without a newline.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	long := false
	for {
		piece, err := r.ReadSlice('\n')
		if len(line)+len(piece) > limit {
			long, line = true, nil
		}
		if !long {
			line = append(line, piece...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF && (long || len(bytes.TrimSpace(line)) > 0):
		case err != nil:
			return nil, err
		}
		if long {
			return nil, errLongLine
		}
		return bytes.TrimSpace(line), nil
	}
}
