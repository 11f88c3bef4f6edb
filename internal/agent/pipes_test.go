package agent

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/wire"
)

// pipes makes two pipes: one pair of ends is the host's, the other the guest's.
func pipes(t *testing.T) (host pipePair, guestIn, guestOut *os.File) {
	t.Helper()
	guestIn, hostOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	hostIn, guestOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	host = pipePair{in: hostIn, out: hostOut}
	t.Cleanup(func() { host.Close() })
	return host, guestIn, guestOut
}

// welcomed runs what a relay does against a guest of its own; the channel is
// closed when the guest has let go of what it got.
func welcomed(t *testing.T, do func(*net.UnixConn) error) (<-chan struct{}, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if conn, err := listener.Accept(); err == nil {
			(&guest{}).welcome(conn.(*net.UnixConn))
		}
	}()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return ended, do(conn.(*net.UnixConn))
}

func needsRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: the agent hears nobody else")
	}
}

// TestHandOver: the stream goes on without the relay, which has closed its ends.
func TestHandOver(t *testing.T) {
	needsRoot(t)
	host, in, out := pipes(t)
	ended, err := welcomed(t, func(conn *net.UnixConn) error { return handOver(conn, in, out) })
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	c, err := wire.NewClient(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Call(t.Context(), wire.Ping, nil, nil); err != nil {
		t.Error(err)
	}
	c.Close()
	<-ended
}

// TestTakeOverRefuses what are not two descriptors, and keeps none of them.
func TestTakeOverRefuses(t *testing.T) {
	needsRoot(t)
	for name, n := range map[string]int{"none": 0, "one": 1, "three": 3, "hung up": -1} {
		t.Run(name, func(t *testing.T) {
			host, in, out := pipes(t)
			in.Close()
			ended, err := welcomed(t, func(conn *net.UnixConn) error {
				defer conn.Close()
				if n < 0 {
					return nil
				}
				var rights []byte
				if n > 0 {
					fds := make([]int, n)
					for i := range fds {
						fds[i] = int(out.Fd())
					}
					rights = unix.UnixRights(fds...)
				}
				_, _, err := conn.WriteMsgUnix([]byte{0}, rights, nil)
				_, _ = conn.Read(make([]byte, 1))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			<-ended
			out.Close()
			if b, err := io.ReadAll(host.in); err != nil || len(b) > 0 {
				t.Errorf("read %q, %v; want the end of a pipe that nobody holds", b, err)
			}
		})
	}
}
