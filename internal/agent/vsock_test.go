package agent

import (
	"io"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"

	"pyro/internal/agent/proof"
	"pyro/internal/agent/wire"
)

// TestVsockDoor: only who knows the key comes in, and those who do not keep
// nobody out. Another kind of socket stands for vsock's.
func TestVsockDoor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "door")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var proven atomic.Int32
	d := &vsockDoor{proven: func() { proven.Add(1) }, serve: func(c net.Conn) {
		defer c.Close()
		_, _ = io.Copy(c, c)
	}}
	key, over := proof.NewKey(), make(chan struct{})
	go func() {
		defer close(over)
		d.accept(l, key)
	}()
	dial := func() net.Conn {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	stranger := dial()
	if err := proof.Host(stranger, proof.NewKey()); err == nil {
		t.Error("a stranger was let in")
	}
	stranger.Close()
	if _, err := dial().Write([]byte("silent from now on")); err != nil {
		t.Fatal(err)
	}
	c := dial()
	if err := proof.Host(c, key); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if n := proven.Load(); n != 1 {
		t.Errorf("%d connections were proven, want 1", n)
	}
	l.Close()
	<-over
}

// TestVsockDoorFull: those who have not proven themselves are bounded, and keep
// out nobody who can.
func TestVsockDoorFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "door")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	key := proof.NewKey()
	d := &vsockDoor{proven: func() {}, serve: func(c net.Conn) { c.Close() }}
	go d.accept(l, key)
	var all []net.Conn
	for range maxUnproven + 1 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all = append(all, c)
	}
	if err := proof.Host(all[maxUnproven], key); err != nil {
		t.Errorf("one more, who knows the key: %v", err)
	}
	if _, err := all[0].Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the one that was silent for the longest: %v", err)
	}
	if err := proof.Host(all[1], key); err != nil {
		t.Errorf("the next: %v", err)
	}
}

// TestVsockDoorKey: a key of another size opens nothing.
func TestVsockDoorKey(t *testing.T) {
	d := &vsockDoor{}
	for _, size := range []int{0, proof.KeySize - 1, proof.KeySize + 1} {
		if err := d.listen(make([]byte, size)); err == nil {
			t.Errorf("a key of %d bytes was taken", size)
		}
	}
	d.wait() // it is not open
	g := &guest{}
	if _, err := g.answer(t.Context(), wire.Call{Method: wire.Listen, Params: []byte(`{}`)}); err == nil {
		t.Error("a guest without a kernel of its own listens")
	}
}
