package daemon

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// socketName is the socket's name in the state folder, as paths.Dirs.Socket has it.
const socketName = "daemon.sock"

// listener accepts connections of this user only.
type listener struct {
	*net.UnixListener
	path     string
	draining atomic.Bool
}

// listen makes the socket. It appears under its name when it is ready and
// private, in place of whatever a killed process left there.
func listen(stateDir string) (*listener, error) {
	fail := func(err error) (*listener, error) {
		return nil, api.Errorf(api.KindStorage, "socket in %s: %w", stateDir, err).
			WithHint("set PYRO_STATE_DIR to a folder on a local disk")
	}
	next := socketName + ".new"
	address, dir, err := socketAddress(stateDir, next)
	if err != nil {
		return fail(err)
	}
	defer dir.Close()
	nextPath := filepath.Join(stateDir, next)
	if err := os.Remove(nextPath); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fail(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"})
	if err != nil {
		return fail(err)
	}
	l.SetUnlinkOnClose(false) // under that name is nothing any more by then
	path := filepath.Join(stateDir, socketName)
	if err := errors.Join(os.Chmod(nextPath, 0o600), os.Rename(nextPath, path)); err != nil {
		l.Close()
		return fail(err)
	}
	return &listener{UnixListener: l, path: path}, nil
}

// socketAddress returns an address for a socket in dir. It goes through an
// open folder, to be closed by the caller, because an address has at most 108
// bytes and paths may have more; see unix(7).
func socketAddress(dir, name string) (string, *os.File, error) {
	f, err := os.OpenFile(dir, syscall.O_DIRECTORY|unix.O_PATH, 0)
	if err != nil {
		return "", nil, err
	}
	return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) + "/" + name, f, nil
}

// Accept returns the next connection of this user.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			if l.draining.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
				return nil, net.ErrClosed
			}
			return nil, err
		}
		if uid, err := peer(conn); err != nil || uid != os.Getuid() {
			conn.Close()
			continue
		}
		return conn, nil
	}
}

// peer returns the user id of the process at the other end. In a user
// namespace that maps only its owner, any other user has the overflow id.
func peer(conn *net.UnixConn) (int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return int(cred.Uid), nil
}

// drain takes the socket away, so that nobody new can connect; Accept still
// returns those who are in the queue and then net.ErrClosed.
func (l *listener) drain() {
	os.Remove(l.path)
	l.draining.Store(true)
	// A deadline only ends an Accept that would have to wait. Setting it fails
	// only on a closed listener, whose Accept does not wait.
	_ = l.SetDeadline(time.Now().Add(10 * time.Millisecond))
}
