package uplink

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"

	"pyro/internal/network/dns"
	"pyro/internal/network/gateway"
	"pyro/internal/network/link"
	"pyro/internal/network/refusals"
)

// IsReexec says whether this process was started to be an uplink. main asks.
func IsReexec() bool { return filepath.Base(os.Args[0]) == Name }

// memoryAim is what the collector tries to keep an uplink within.
const memoryAim = 192 << 20

// ReexecMain is main for such a process. It returns when the sandbox is gone.
func ReexecMain() {
	debug.SetMemoryLimit(memoryAim)
	if err := run(); err != nil {
		fmt.Fprintln(os.Stdout, err)
		os.Exit(1)
	}
}

func run() error {
	var c config
	if err := json.NewDecoder(io.LimitReader(os.Stdin, maxConfig)).Decode(&c); err != nil {
		return fmt.Errorf("its settings cannot be read: %w", err)
	}
	keep := sandboxFD
	if c.HasLog {
		keep = logFD + len(refusals.Files{}) - 1
	}
	closeLeaked(keep)
	if err := lockDown(); err != nil {
		return err
	}
	card := os.NewFile(linkFD, "link")
	refused := func(refusals.Event) {}
	if c.HasLog {
		log := newLog(refusals.Files{os.NewFile(logFD, "log 0"), os.NewFile(logFD+1, "log 1")})
		defer log.close()
		refused = log.add
	}
	g, err := serve(c, card, refused)
	if err != nil {
		return err
	}
	defer g.Close()
	fmt.Fprint(os.Stdout, serving)
	detachStdio()
	return waitForEnd(sandboxFD)
}

// maxConfig bounds the settings.
const maxConfig = 1 << 20

// closeLeaked closes descriptors above keep that this process got by accident:
// its starter has many, of other guests too, and not all are marked. What the Go
// runtime has opened since is marked close-on-exec, which nothing inherited can be.
func closeLeaked(keep int) {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd <= keep {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}

// lockDown gives up what an uplink never needs: to gain privileges, and to be
// looked into by other processes of its user.
func lockDown() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("dumpable: %w", err)
	}
	return nil
}

// detachStdio lets go of the pipes to the process that started this one.
func detachStdio() {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(null)
	for fd := range 3 {
		_ = unix.Dup3(null, fd, 0)
	}
}

// waitForEnd returns when the process of a pidfd has ended, pidfd_open(2).
func waitForEnd(pidfd int) error {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n > 0:
			return nil
		}
	}
}

// serve makes the gateway.
func serve(c config, card *os.File, refused func(refusals.Event)) (*gateway.Gateway, error) {
	p := c.Policy.WithHost(HostAddresses())
	names := &dns.Server{
		Policy: p, Resolver: &dns.Host{}, Book: &dns.Book{}, Refused: refused,
		Hostname: c.Hostname, Addresses: []netip.Addr{link.Guest4.Addr(), link.Guest6.Addr()},
	}
	return gateway.New(gateway.Options{Link: card, Policy: p, Names: names, Refused: refused, Checksums: c.Checksums})
}
