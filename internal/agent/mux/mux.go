// Package mux carries many streams over the one byte stream of a serial port.
//
// A port has no connections: when the process at the host's end is replaced,
// bytes of the earlier one may still be under way in both directions, and what a
// host sends before the guest is there waits in the port. So a session begins
// with four messages, each a mark, a letter and the host's random number:
//
//	host   hello   again and again, until
//	guest  answer
//	host   go      once, then only yamux
//	guest  start   once, then only yamux
//
// The guest throws away everything until a mark comes, the host until its own
// number does. What follows is yamux,
// https://github.com/hashicorp/yamux/blob/master/spec.md, with flow control for
// each stream.
package mux

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/yamux"
)

const (
	mark      = "\x00\xffPYRO-MUX\xff\x00"
	nonceSize = 16
)

// word is a message of the greeting.
type word byte

const (
	hello       word = 'H'
	helloAnswer word = 'A'
	goWord      word = 'G'
	startWord   word = 'S'
)

func message(w word, nonce []byte) []byte {
	return append(append([]byte(mark), byte(w)), nonce...)
}

// window is how far a stream may be ahead of its reader.
const window = 1 << 20

func config() *yamux.Config {
	c := yamux.DefaultConfig()
	c.EnableKeepAlive = false // a guest that is paused or emulated answers late, and the port tells when the host goes
	c.MaxStreamWindowSize = window
	c.ConnectionWriteTimeout = 24 * time.Hour
	c.StreamOpenTimeout = 0
	c.LogOutput = io.Discard
	return c
}

// Host greets the guest at the other end of conn, which it owns from then on.
// Cancelling ctx closes it.
func Host(ctx context.Context, conn net.Conn) (*yamux.Session, error) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	err := greet(conn)
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return yamux.Client(conn, config())
}

// greetAgain is how often the host says hello until the guest answers: one that
// came in the middle of what an earlier session had sent may be lost.
const greetAgain = 500 * time.Millisecond

func greet(conn net.Conn) error {
	defer conn.SetReadDeadline(time.Time{})
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	for answered := false; !answered; {
		if _, err := conn.Write(message(hello, nonce)); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(greetAgain)); err != nil {
			return err
		}
		err := skipTo(conn, string(message(helloAnswer, nonce)))
		if t, ok := errors.AsType[net.Error](err); err != nil && (!ok || !t.Timeout()) {
			return err
		}
		answered = err == nil
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if _, err := conn.Write(message(goWord, nonce)); err != nil {
		return err
	}
	return skipTo(conn, string(message(startWord, nonce)))
}

// skipTo reads up to and with the given bytes.
func skipTo(r io.Reader, want string) error {
	var seen []byte
	one := make([]byte, 1)
	for string(seen) != want {
		if _, err := io.ReadFull(r, one); err != nil {
			return err
		}
		if seen = append(seen, one[0]); len(seen) > len(want) {
			seen = seen[1:]
		}
	}
	return nil
}

// Guest serves the sessions of the port, one after the other, each stream on a
// goroutine of its own. It returns only if the port fails.
func Guest(port Port, serve func(net.Conn)) error {
	for {
		if err := answer(port); err != nil {
			return fmt.Errorf("serial port: %w", err)
		}
		session, err := yamux.Server(&unclosed{port: port}, config())
		if err != nil {
			return err
		}
		for {
			conn, err := session.Accept()
			if err != nil {
				break
			}
			go serve(conn)
		}
		session.Close()
	}
}

// Port is a serial port. Its Read answers io.EOF as long as nobody is at the
// other end; SetReadDeadline ends one that waits.
type Port interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
}

// answer waits for a host and answers its greeting, up to the start.
func answer(port Port) error {
	if err := port.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	r := patient{port: port}
	for {
		if err := skipTo(&r, mark); err != nil {
			return err
		}
		said := make([]byte, 1+nonceSize)
		if _, err := io.ReadFull(&r, said); err != nil {
			return err
		}
		// A host that went away meanwhile will be followed by another.
		switch word(said[0]) {
		case hello:
			_, _ = port.Write(message(helloAnswer, said[1:]))
		case goWord:
			_, _ = port.Write(message(startWord, said[1:]))
			return nil
		}
	}
}

// patient reads on when nobody is there.
type patient struct {
	port io.Reader
	wait time.Duration
}

// The pauses of patient: short at first, since a host that starts a machine
// connects at once.
const (
	shortWait = 2 * time.Millisecond
	longWait  = 100 * time.Millisecond
)

func (p *patient) Read(b []byte) (int, error) {
	for {
		n, err := p.port.Read(b)
		if n > 0 {
			p.wait = 0
			return n, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		p.wait = min(max(shortWait, p.wait*5/4), longWait)
		time.Sleep(p.wait)
	}
}

// unclosed is a port as yamux wants it, which outlives the session.
type unclosed struct{ port Port }

func (u *unclosed) Read(b []byte) (int, error)  { return u.port.Read(b) }
func (u *unclosed) Write(b []byte) (int, error) { return u.port.Write(b) }
func (u *unclosed) Close() error                { return u.port.SetReadDeadline(time.Unix(1, 0)) }
