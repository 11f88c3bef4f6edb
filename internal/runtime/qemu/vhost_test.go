package qemu

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"pyro/internal/hostcheck"
	"pyro/internal/runtime"
	"pyro/internal/vsock"
)

// NoVsockDevice is a host that seems to have vsock, and a QEMU without the device.
func NoVsockDevice(d *Driver) {
	d.sockets = brokenVsock{arguments: []string{"-device", "vhost-vsock-of-another-qemu"}}
}

// SilentVsock is a host whose guests do not answer over vsock.
func SilentVsock(d *Driver) { d.sockets = brokenVsock{} }

// brokenVsock implements sockets.
type brokenVsock struct{ arguments []string }

func (brokenVsock) check() error { return nil }

func (b brokenVsock) device(runtime.Spec, *files) (uint32, []string, error) {
	return firstCID, b.arguments, nil
}

func (brokenVsock) dial(context.Context, uint32) (net.Conn, error) {
	return nil, errors.New("no route")
}

// TestCIDs: the kernel gives a CID to one machine at a time, and takes it back
// with the last descriptor.
func TestCIDs(t *testing.T) {
	if why := (vhost{}).check(); why != nil {
		t.Skip("needs a host with vsock: " + why.Error())
	}
	var claimed [2]uint32
	var devices [2]*os.File
	for i := range claimed {
		f := &files{}
		cid, _, err := vhost{}.device(runtime.Spec{}, f)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		claimed[i], devices[i] = cid, f.open[0]
	}
	if claimed[0] == claimed[1] || min(claimed[0], claimed[1]) < firstCID {
		t.Errorf("the CIDs are %v", claimed)
	}
	if err := setCID(devices[1], claimed[0]); err != unix.EADDRINUSE {
		t.Errorf("a CID that is taken: %v", err)
	}
	devices[0].Close()
	if err := setCID(devices[1], claimed[0]); err != nil {
		t.Errorf("a CID that was given back: %v", err)
	}
}

// TestReachable: while a program of the host can be reached, there is no vsock.
func TestReachable(t *testing.T) {
	if why := (vhost{}).check(); why != nil {
		t.Skip("needs a host with vsock: " + why.Error())
	}
	l, err := vsock.Listen(vsock.Any, 987_655, vsock.Local)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if why := (hostcheck.Host{}).Vsock(); why == nil {
		t.Error("a guest could connect to this test")
	}
}
