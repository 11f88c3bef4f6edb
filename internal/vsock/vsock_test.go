package vsock_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"pyro/internal/vsock"
)

const port = 987_654

// listen listens on this machine itself, for connections from one CID.
func listen(t *testing.T, only uint32) net.Listener {
	t.Helper()
	l, err := vsock.Listen(vsock.Local, port, only)
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT) {
		t.Skip("needs vsock to this machine itself: sudo modprobe vsock_loopback")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TestConnection: bytes go both ways, and the end of one way is passed on.
func TestConnection(t *testing.T) {
	l := listen(t, vsock.Local)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				got, _ := io.ReadAll(c)
				_, _ = c.Write(got)
			}()
		}
	}()
	c, err := vsock.Dial(t.Context(), vsock.Local, port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := make([]byte, 1<<20)
	rand.Read(want)
	if _, err := c.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes came back: %v", len(got), len(want), err)
	}
	if got := c.RemoteAddr().String(); got != "1:987654" {
		t.Errorf("the other end is %s", got)
	}
}

// TestStranger: a connection from another CID than the expected is hung up on.
func TestStranger(t *testing.T) {
	l := listen(t, vsock.Host)
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	c, err := vsock.Dial(t.Context(), vsock.Local, port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	l.Close()
	if err := <-accepted; err == nil {
		t.Error("it was accepted")
	}
}

// TestNobody: a port without a listener is an error.
func TestNobody(t *testing.T) {
	listen(t, vsock.Local)
	if c, err := vsock.Dial(t.Context(), vsock.Local, port+1); err == nil {
		c.Close()
		t.Error("connected")
	}
}

// TestListeners: the kernel lists who waits.
func TestListeners(t *testing.T) {
	listen(t, vsock.Local)
	all, err := vsock.Listeners()
	if errors.Is(err, unix.ENOENT) {
		t.Skip("needs the module vsock_diag: sudo modprobe vsock_diag")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if a == (vsock.Addr{CID: vsock.Local, Port: port}) {
			return
		}
	}
	t.Errorf("not in %v", all)
}
