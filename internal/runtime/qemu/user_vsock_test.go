package qemu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pyro/internal/agent/proof"
	"pyro/internal/agent/wire"
	"pyro/internal/runtime"
)

// UseUserVsock gives the machines of drivers the vsock device of a program,
// rust-vmm's vhost-device-vsock, in the place of the host's kernel. In the guest
// it is the same device. The host's end is a unix socket, on which one says
// "CONNECT port\n": https://github.com/rust-vmm/vhost-device/tree/main/vhost-device-vsock
func UseUserVsock(t testing.TB) func(*Driver) {
	t.Helper()
	program, err := exec.LookPath("vhost-device-vsock")
	if err != nil {
		t.Skip("needs vhost-device-vsock in the PATH: cargo install vhost-device-vsock")
	}
	u := &userVsock{t: t, program: program, dir: t.TempDir(), next: 100}
	return func(d *Driver) { d.sockets = u }
}

// UseSerial keeps the machines of a driver at their serial ports.
func UseSerial(d *Driver) { d.sockets = withoutVsock{} }

// withoutVsock is a host that has none.
type withoutVsock struct{ sockets }

func (withoutVsock) check() error { return errors.New("no vsock in this test") }

// DialWithout connects to the agent of a machine as somebody does who has another
// key.
func DialWithout(ctx context.Context, m runtime.Machine) error {
	live := m.(*machine)
	conn, err := live.dialVsock(ctx, &vsockAddress{CID: live.address().CID, Key: proof.NewKey()})
	if err == nil {
		conn.Close()
	}
	return err
}

// userVsock implements sockets.
type userVsock struct {
	t            testing.TB
	program, dir string

	mu   sync.Mutex
	next uint32
}

func (u *userVsock) check() error { return nil }

func (u *userVsock) socket(cid uint32) string { return filepath.Join(u.dir, fmt.Sprint(cid, ".sock")) }

func (u *userVsock) device(s runtime.Spec, f *files) (uint32, []string, error) {
	u.mu.Lock()
	u.next++
	cid := u.next
	u.mu.Unlock()
	control := filepath.Join(u.dir, fmt.Sprint(cid, ".dev"))
	cmd := exec.Command(u.program, "--guest-cid", fmt.Sprint(cid), "--socket", control, "--uds-path", u.socket(cid))
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	u.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	file, err := dialFile(control)
	if err != nil {
		return 0, nil, err
	}
	f.add("vsock", file)
	return cid, []string{
		"-object", fmt.Sprintf("memory-backend-memfd,id=memory,share=on,size=%dM", guestMemory(s.MemoryBytes)>>20),
		"-machine", "memory-backend=memory",
		"-chardev", fmt.Sprintf("socket,id=vsock,fd=%d", f.number("vsock")), "-device", "vhost-user-vsock-device,chardev=vsock",
	}, nil
}

// dialFile connects to a socket that is about to be there.
func dialFile(path string) (*os.File, error) {
	for end := time.Now().Add(callTime); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("unix", path)
		if err == nil {
			defer conn.Close()
			return conn.(*net.UnixConn).File()
		}
		if time.Now().After(end) {
			return nil, err
		}
	}
}

func (u *userVsock) dial(ctx context.Context, cid uint32) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", u.socket(cid))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err = fmt.Fprintf(conn, "CONNECT %d\n", wire.VsockPort); err == nil {
		err = readOK(conn)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// readOK reads one line, and no byte more.
func readOK(conn net.Conn) error {
	one := bufio.NewReaderSize(oneByte{conn}, 16)
	line, err := one.ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "OK ") {
		err = fmt.Errorf("vhost-device-vsock says %q", line)
	}
	return err
}

type oneByte struct{ net.Conn }

func (o oneByte) Read(p []byte) (int, error) { return o.Conn.Read(p[:1]) }
