package proof_test

import (
	"bytes"
	"io"
	"net"
	"testing"

	"pyro/internal/agent/proof"
)

func TestProof(t *testing.T) {
	key := proof.NewKey()
	for name, tc := range map[string]struct {
		host, guest []byte
		proven      bool
	}{
		"the same key":   {key, key, true},
		"another host":   {proof.NewKey(), key, false},
		"another guest":  {key, proof.NewKey(), false},
		"a host without": {nil, key, false},
	} {
		host, guest := net.Pipe()
		answer := make(chan error, 1)
		go func() {
			answer <- proof.Guest(guest, tc.guest)
			guest.Close()
		}()
		err := proof.Host(host, tc.host)
		host.Close()
		if got := <-answer; (err == nil) != tc.proven || (got == nil) != tc.proven {
			t.Errorf("%s: the host says %v, the guest %v", name, err, got)
		}
	}
}

// TestKeyStays: the key is not on the wire, and what one connection has shown
// proves nothing in the next.
func TestKeyStays(t *testing.T) {
	key := proof.NewKey()
	var said bytes.Buffer
	host, guest := net.Pipe()
	go func() { _ = proof.Guest(guest, key) }()
	if err := proof.Host(recorded{host, &said}, key); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(said.Bytes(), key) {
		t.Error("the key was sent")
	}
	err := proof.Guest(struct {
		io.Reader
		io.Writer
	}{bytes.NewReader(said.Bytes()), io.Discard}, key)
	if err != proof.ErrUnproven {
		t.Errorf("what was said once is taken again: %v", err)
	}
}

// recorded keeps what is written.
type recorded struct {
	net.Conn
	said *bytes.Buffer
}

func (r recorded) Write(p []byte) (int, error) {
	r.said.Write(p)
	return r.Conn.Write(p)
}

// FuzzGuest: nothing that a stranger sends is a proof, and none of it harms.
func FuzzGuest(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 2*proof.KeySize))
	key := proof.NewKey()
	f.Fuzz(func(t *testing.T, b []byte) {
		end := struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(b), io.Discard}
		if proof.Guest(end, key) == nil || proof.Host(end, key) == nil {
			t.Errorf("%x is a proof", b)
		}
	})
}
