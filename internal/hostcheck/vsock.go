package hostcheck

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/vsock"
)

// VhostVsock is the device by which the kernel gives machines vsock.
const VhostVsock = "/dev/vhost-vsock"

// Vsock says why microVMs are not reached over vsock here, or returns nil. The
// device has to open, and nothing of this host may listen on vsock: whoever is
// root in a guest that has the device can connect to that.
func (h Host) Vsock() *api.Error {
	if err := h.openVhost(); err != nil {
		return err
	}
	list := h.Listeners
	if list == nil {
		list = vsock.Listeners
	}
	switch found, err := list(); {
	case errors.Is(err, fs.ErrNotExist):
		return api.Errorf(api.KindUnavailable, "what a guest could connect to over vsock cannot be found out: the module vsock_diag is missing").
			WithHint("sudo modprobe vsock_diag")
	case err != nil:
		return api.Errorf(api.KindUnavailable, "what a guest could connect to over vsock cannot be found out: %w", err)
	case len(found) > 0:
		return api.Errorf(api.KindUnavailable, "a program of this host listens on vsock, at port %d, and guests could connect to it", found[0].Port).
			WithHint("end it, see: ss --vsock --listening --processes")
	}
	return nil
}

// openVhost opens the device, which loads its module where the device file is
// there before the module.
func (h Host) openVhost() *api.Error {
	path := h.path(VhostVsock)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		f.Close()
		return nil
	}
	if !errors.Is(err, fs.ErrPermission) {
		return api.Errorf(api.KindUnavailable, "the module vhost_vsock is not loaded: %s cannot be opened", VhostVsock).
			WithHint("sudo modprobe vhost_vsock")
	}
	e := api.Errorf(api.KindUnavailable, "%s may not be opened by this user", VhostVsock)
	var st unix.Stat_t
	if unix.Stat(path, &st) == nil && st.Mode&0o060 == 0o060 && st.Gid != 0 {
		return e.WithHint("sudo usermod -aG kvm $USER, then log in again")
	}
	return e.WithHint("sudo chgrp kvm %[1]s && sudo chmod 660 %[1]s, with yourself in the group kvm", VhostVsock)
}

// VsockCheck is Vsock as a check: which channel microVMs have here. Either does.
func (h Host) VsockCheck() api.HostCheck {
	c := api.HostCheck{Name: "vsock", OK: true, Detail: "microVMs are reached over vsock"}
	if e := h.Vsock(); e != nil {
		c.Detail, c.Hint = "microVMs are reached over a serial port: "+e.Message, e.Hint
	}
	return c
}
