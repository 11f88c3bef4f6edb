package agent

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// socketName is the abstract socket on which init takes pipes over.
const socketName = "@pyro-agent"

// pipePair joins two pipes to one stream.
type pipePair struct{ in, out *os.File }

func (p pipePair) Read(b []byte) (int, error)  { return p.in.Read(b) }
func (p pipePair) Write(b []byte) (int, error) { return p.out.Write(b) }

// CloseWrite ends what the host reads.
func (p pipePair) CloseWrite() error { return p.out.Close() }

func (p pipePair) Close() error {
	p.out.Close()
	return p.in.Close()
}

// newPipePair takes two descriptors over. Nothing that reads from them may hold
// up a thread: with one that waits in a read, the Go runtime, which has one
// processor here, notices only after a while that it can run something else.
func newPipePair(in, out int) pipePair {
	for _, fd := range []int{in, out} {
		unix.CloseOnExec(fd)
		_ = unix.SetNonblock(fd, true) // if it fails, it is slower
	}
	return pipePair{in: os.NewFile(uintptr(in), "host-in"), out: os.NewFile(uintptr(out), "host-out")}
}

// relay hands stdin and stdout to init and ends. The host runs it in the guest
// to reach an agent whose pipes it does not hold.
func relay(in, out *os.File) int {
	conn, err := net.Dial("unix", socketName)
	if err == nil {
		err = handOver(conn.(*net.UnixConn), in, out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return 0
}

// handOver returns when init has what it was given, or has refused it: it closes
// the connection.
func handOver(conn *net.UnixConn, in, out *os.File) error {
	defer conn.Close()
	rights := unix.UnixRights(int(in.Fd()), int(out.Fd()))
	if _, _, err := conn.WriteMsgUnix([]byte{0}, rights, nil); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// takeOver receives what handOver sends.
func takeOver(conn *net.UnixConn) (pipePair, error) {
	rights := make([]byte, unix.CmsgSpace(2*4))
	_, n, flags, _, err := conn.ReadMsgUnix(make([]byte, 1), rights)
	if err != nil {
		return pipePair{}, err
	}
	var fds []int
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	for _, m := range messages {
		got, _ := unix.ParseUnixRights(&m)
		fds = append(fds, got...)
	}
	if err != nil || len(fds) != 2 || flags&unix.MSG_CTRUNC != 0 {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return pipePair{}, errors.New("no pair of pipes came")
	}
	return newPipePair(fds[0], fds[1]), nil
}

// peerIsRoot keeps the guest's ordinary users from the agent's powers.
func peerIsRoot(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	root := false
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		root = err == nil && cred.Uid == 0
	})
	return err == nil && root
}
