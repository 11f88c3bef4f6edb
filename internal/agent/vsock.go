package agent

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"pyro/internal/agent/proof"
	"pyro/internal/agent/wire"
	"pyro/internal/vsock"
)

const (
	// maxUnproven is how many connections may be about to prove themselves. Any
	// process of the host can open one.
	maxUnproven = 64
	// proofTime is how long each of them may take.
	proofTime = 10 * time.Second
)

// vsockDoor is the way in over vsock, see wire.VsockPort.
type vsockDoor struct {
	serve  func(net.Conn) // a stream, to its end
	proven func()         // called for each connection that has proven itself

	mu   sync.Mutex // guards open
	open chan struct{}
}

// listen opens the door, once, to the host alone.
func (d *vsockDoor) listen(key []byte) error {
	if len(key) != proof.KeySize {
		return &wire.Error{Kind: wire.KindUsage, Message: fmt.Sprintf("a key has %d bytes, this one %d", proof.KeySize, len(key))}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open != nil {
		return &wire.Error{Kind: wire.KindConflict, Message: "the agent listens already"}
	}
	l, err := vsock.Listen(vsock.Any, wire.VsockPort, vsock.Host)
	if err != nil {
		return err
	}
	d.open = make(chan struct{})
	go func() {
		defer close(d.open)
		d.accept(l, key)
	}()
	return nil
}

// accept lets in who knows the key, until the listener fails.
func (d *vsockDoor) accept(l net.Listener, key []byte) {
	defer l.Close()
	var waiting unproven
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no memory, or too many files, for the moment
			time.Sleep(acceptPause)
			continue
		}
		waiting.add(conn)
		go func() {
			err := admit(conn, key)
			waiting.remove(conn)
			if err != nil {
				conn.Close()
				return
			}
			d.proven()
			d.serve(conn)
		}()
	}
}

const acceptPause = 100 * time.Millisecond

// unproven are the connections that have not proven themselves yet. The zero
// value is ready for use.
type unproven struct {
	mu    sync.Mutex // guards conns
	conns []net.Conn // the oldest first
}

// add hangs up on the oldest if there are too many: who knows the key has proven
// it at once, and who only takes up room keeps nobody out.
func (u *unproven) add(conn net.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.conns) == maxUnproven {
		u.conns[0].Close()
		u.conns = slices.Delete(u.conns, 0, 1)
	}
	u.conns = append(u.conns, conn)
}

func (u *unproven) remove(conn net.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.conns = slices.DeleteFunc(u.conns, func(c net.Conn) bool { return c == conn })
}

func admit(conn net.Conn, key []byte) error {
	if err := conn.SetDeadline(time.Now().Add(proofTime)); err != nil {
		return err
	}
	if err := proof.Guest(conn, key); err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// wait returns when nobody can come in any more.
func (d *vsockDoor) wait() {
	d.mu.Lock()
	open := d.open
	d.mu.Unlock()
	if open != nil {
		<-open
	}
}
