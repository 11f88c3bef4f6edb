package gvisor

import (
	"os"
	"regexp"
	"strconv"

	"golang.org/x/sys/unix"
)

// closeLeaked closes the descriptors that this process, a sandbox or a gofer,
// inherited by accident. runsc opens sockets and receives files without
// close-on-exec, and marks them only once in a process's life, as befits a
// program that makes one sandbox. The background process makes many, and its
// descriptors include the memory of other guests.
//
// What was meant for this process stands in its arguments. What the Go runtime
// opened since is marked close-on-exec, which nothing inherited can be.
func closeLeaked(args []string) {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return // started once more in its empty root: done already
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	donated := donatedFDs(args)
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd <= 2 || donated[fd] {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}

// fdFlag matches runsc's flags for descriptors: --spec-fd=4, --io-fds=9,10 and
// --pass-fd=15:3,16:4, where the number before a colon is the host's.
var fdFlag = regexp.MustCompile(`^--?[a-z-]*fds?=([0-9:,-]+)$`)

var hostFD = regexp.MustCompile(`(?:^|,)([0-9]+)`)

func donatedFDs(args []string) map[int]bool {
	donated := make(map[int]bool)
	for _, a := range args {
		m := fdFlag.FindStringSubmatch(a)
		if m == nil {
			continue
		}
		for _, n := range hostFD.FindAllStringSubmatch(m[1], -1) {
			if fd, err := strconv.Atoi(n[1]); err == nil {
				donated[fd] = true
			}
		}
	}
	return donated
}
