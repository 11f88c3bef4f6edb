package qemu

import (
	"bytes"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pyro/internal/runtime/hostprocess"
	"pyro/internal/runtime/machines"
)

// nobody is the user and group that QEMU runs as when root starts it.
const nobody = 65534

// kvmDevice is what QEMU opens by name.
const kvmDevice = "/dev/kvm"

// folderEnv names the machine's folder in QEMU's environment.
const folderEnv = "PYRO_MACHINE_DIR="

// spawn starts QEMU. What it says is kept for an error.
func (d *Driver) spawn(id, program string, args []string, f *files, accel accelerator) (*exec.Cmd, *words, error) {
	said := &words{ended: make(chan struct{})}
	cmd := exec.Command(program, args...)
	// The folder tells people, and later processes, whose machine it is.
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C", folderEnv + d.machineDir(id)}
	cmd.Dir = "/"
	cmd.ExtraFiles = f.open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: credential(accel)}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWPID
	}
	// A pipe of our own, which is not waited for: QEMU outlives this process, and
	// goes on when nobody reads.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer w.Close()
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		r.Close()
		return nil, nil, err
	}
	go said.take(r)
	return cmd, said, nil
}

// credential is nobody's, for root of the host. Root of a user namespace has no
// nobody, and no rights outside either.
func credential(accel accelerator) *syscall.Credential {
	if !isRoot() {
		return nil
	}
	c := &syscall.Credential{Uid: nobody, Gid: nobody}
	if accel != kvm {
		return c
	}
	var st unix.Stat_t
	if unix.Stat(kvmDevice, &st) != nil {
		return c
	}
	switch {
	case st.Mode&0o006 == 0o006:
	case st.Mode&0o060 == 0o060:
		c.Groups = []uint32{st.Gid}
	default:
		c.Uid = st.Uid // nobody else may open it
	}
	return c
}

// isRoot says whether this process is root of the host.
func isRoot() bool { return os.Geteuid() == 0 && !hostprocess.InUserNamespace() }

// words are what a process wrote to its stderr, the end of it.
type words struct {
	ended chan struct{} // closed when no more comes
	mu    sync.Mutex
	text  []byte
}

const maxWords = 4 << 10

func (w *words) take(r *os.File) {
	defer close(w.ended)
	defer r.Close()
	buf := make([]byte, maxWords)
	for {
		n, err := r.Read(buf)
		w.mu.Lock()
		w.text = append(w.text, buf[:n]...)
		w.text = w.text[max(0, len(w.text)-maxWords):]
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// last is all that a process said which has ended, or is about to.
func (w *words) last() string {
	select {
	case <-w.ended:
	case <-time.After(machines.EndTime):
	}
	return w.String()
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(bytes.TrimSpace(w.text))
}
