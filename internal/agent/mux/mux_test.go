package mux

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wire is a serial port: a stream of bytes whose other end comes and goes.
type wire struct {
	mu   sync.Mutex
	conn net.Conn // nil while nobody is there
	junk []byte   // what an earlier host has left
}

func (w *wire) current() net.Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn
}

func (w *wire) Read(p []byte) (int, error) {
	w.mu.Lock()
	if len(w.junk) > 0 {
		n := copy(p, w.junk)
		w.junk = w.junk[n:]
		w.mu.Unlock()
		return n, nil
	}
	w.mu.Unlock()
	if c := w.current(); c != nil {
		n, err := c.Read(p)
		return n, err
	}
	return 0, io.EOF
}

func (w *wire) Write(p []byte) (int, error) {
	if c := w.current(); c != nil {
		return c.Write(p)
	}
	return 0, io.EOF
}

func (w *wire) SetReadDeadline(t time.Time) error {
	if c := w.current(); c != nil {
		_ = c.SetReadDeadline(t)
	}
	return nil
}

// plug connects a host, after junk.
func (w *wire) plug(junk string) net.Conn {
	host, guest := pair()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn, w.junk = guest, []byte(junk)
	return host
}

// pair is two ends of a stream that holds some bytes, as a port does.
func pair() (net.Conn, net.Conn) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		if ends[i], err = net.FileConn(f); err != nil {
			panic(err)
		}
		f.Close()
	}
	return ends[0], ends[1]
}

func echo(c net.Conn) {
	defer c.Close()
	_, _ = io.Copy(c, c)
}

// TestSessions: hosts follow one another, and each finds the guest, whatever
// the one before had left in the port.
func TestSessions(t *testing.T) {
	w := &wire{}
	go func() { _ = Guest(w, echo) }()
	for _, junk := range []string{"", "half a frame", mark[:5], mark + "too short", mark + "Hello, hello, hello, hello", mark + "G456789012345678", strings.Repeat("x", 100_000) + mark[:3]} {
		s, err := Host(t.Context(), w.plug(junk))
		if err != nil {
			t.Fatalf("after %.20q: %v", junk, err)
		}
		var streams sync.WaitGroup
		for range 8 {
			streams.Go(func() {
				c, err := s.Open()
				if err != nil {
					t.Error(err)
					return
				}
				want := make([]byte, 300_000)
				rand.Read(want)
				go func() { _, _ = c.Write(want) }()
				got := make([]byte, len(want))
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
					t.Errorf("after %.20q: what came back is different: %v", junk, err)
				}
				c.Close()
			})
		}
		streams.Wait()
		s.Close()
	}
}

// TestNobody: a host that waits for a guest that never answers can be stopped.
func TestNobody(t *testing.T) {
	host, guest := net.Pipe()
	defer guest.Close()
	go func() { _, _ = io.Copy(io.Discard, guest) }()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := Host(ctx, host); err != context.Canceled {
		t.Errorf("the error is %v", err)
	}
}
