package qemu

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/wire"
	"pyro/internal/hostcheck"
	"pyro/internal/runtime"
	"pyro/internal/vsock"
)

// sockets gives machines vsock devices, and connects to them.
type sockets interface {
	// check says why machines cannot have one here, or returns nil.
	check() error
	// device makes one for a machine, with a CID that no other machine of the host
	// has, adds to f what QEMU needs for it, and returns QEMU's arguments.
	device(s runtime.Spec, f *files) (cid uint32, arguments []string, err error)
	// dial connects to the agent of the machine with a CID.
	dial(ctx context.Context, cid uint32) (net.Conn, error)
}

// vhost is the vsock of the host's kernel. It implements sockets.
type vhost struct{}

func (vhost) check() error {
	if why := (hostcheck.Host{}).Vsock(); why != nil {
		return why
	}
	return nil
}

// device opens the kernel's device, and claims a CID with it: the kernel knows
// all that are in use, by whatever program, and frees it with the last descriptor,
// which is QEMU's.
func (vhost) device(_ runtime.Spec, f *files) (uint32, []string, error) {
	file, err := os.OpenFile(hostcheck.VhostVsock, os.O_RDWR, 0)
	if err != nil {
		return 0, nil, err
	}
	cid, err := claimCID(file)
	if err != nil {
		file.Close()
		return 0, nil, err
	}
	f.add("vsock", file)
	return cid, []string{"-device", fmt.Sprintf("vhost-vsock-device,guest-cid=%d,vhostfd=%d", cid, f.number("vsock"))}, nil
}

func (vhost) dial(ctx context.Context, cid uint32) (net.Conn, error) {
	return vsock.Dial(ctx, cid, wire.VsockPort)
}

// claimTries is how many CIDs are tried. With thousands of machines on the host
// it is hardly ever more than one.
const claimTries = 16

func claimCID(device *os.File) (uint32, error) {
	var err error
	for range claimTries {
		cid := randomCID()
		if err = setCID(device, cid); err == nil {
			return cid, nil
		}
		if err != unix.EADDRINUSE {
			break
		}
	}
	return 0, os.NewSyscallError("VHOST_VSOCK_SET_GUEST_CID", err)
}

// The CIDs to choose from: small ones are those that people write down, and the
// kernel's own.
const (
	firstCID = 1 << 16
	manyCIDs = 1 << 31
)

func randomCID() uint32 {
	var b [4]byte
	rand.Read(b[:])
	return firstCID + binary.NativeEndian.Uint32(b[:])%manyCIDs
}

// setGuestCID is VHOST_VSOCK_SET_GUEST_CID of <linux/vhost.h>: _IOW(0xAF, 0x60, __u64).
const setGuestCID = 0x4008af60

// setCID fails with EADDRINUSE if another machine has the CID.
func setCID(device *os.File, cid uint32) error {
	raw, err := device.SyscallConn()
	if err != nil {
		return err
	}
	wide := uint64(cid)
	var errno unix.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, setGuestCID, uintptr(unsafe.Pointer(&wide)))
	})
	if err == nil && errno != 0 {
		err = errno
	}
	return err
}
