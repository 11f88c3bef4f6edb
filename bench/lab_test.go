package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pyro/internal/runtime"
	"pyro/internal/runtime/gvisor"
)

// lab is the folder in which everything that is measured lives, and the way to
// get rid of it, whatever happens: processes are recognized by the folder's
// name in their arguments or environment.
//
//	/tmp/pyro-bench-N/
//	├── driver/     the driver's folder
//	├── runsc/      root, overlay and bundles of raw runsc
//	├── s/ c/       pyro's state and configuration, for the program as a command
//	├── build/      one cold build of an environment
//	└── tmp/ home/  of all commands
type lab struct {
	ctx context.Context // ended by a signal

	// mu is held for reading while something is started and for writing by
	// close, so that nothing is started that close would not see.
	mu     sync.RWMutex
	dir    string
	driver *gvisor.Driver
	closed bool
	ids    atomic.Int64
}

var theLab lab

// folder makes a folder of the lab, and the lab with the first.
func (l *lab) folder(name string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return "", context.Canceled
	}
	if l.dir == "" {
		dir, err := os.MkdirTemp("/tmp", "pyro-bench-") // short: there are sockets in it
		if err != nil {
			return "", err
		}
		// Sandboxes that run as nobody must reach their folders.
		if err := os.Chmod(dir, 0o755); err != nil {
			return "", err
		}
		l.dir = dir
		for _, sub := range []string{"tmp", "home"} {
			if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
				return "", err
			}
		}
	}
	dir := filepath.Join(l.dir, name)
	return dir, os.MkdirAll(dir, 0o755)
}

// gvisor is the driver, as the background process has it.
func (l *lab) gvisor() (*gvisor.Driver, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("needs root: raw runsc makes sandboxes only so, and pyro is to be measured alike")
	}
	dir, err := l.folder("driver")
	if err != nil {
		return nil, err
	}
	program, err := pyroProgram()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.driver == nil {
		l.driver, err = gvisor.New(gvisor.Options{Dir: dir, Executable: program})
	}
	return l.driver, err
}

// spec describes a new machine with the default limits of pyro run.
func (l *lab) spec(image string) runtime.Spec {
	return runtime.Spec{
		ID: fmt.Sprintf("bench-%08d", l.ids.Add(1)), Image: image,
		VCPUs: 1, MemoryBytes: 1 << 30, DiskBytes: 8 << 30, PIDs: 512,
	}
}

// create makes a machine.
func (l *lab) create(ctx context.Context, d *gvisor.Driver, spec runtime.Spec) (runtime.Machine, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return nil, context.Canceled
	}
	return d.Create(ctx, spec)
}

// command runs a program of the lab to its end and returns its stdout, if asked
// for. It has no terminal, and its stderr goes to a file, because a sandbox may
// keep it open.
func (l *lab) command(ctx context.Context, env []string, stdout *strings.Builder, argv ...string) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return context.Canceled
	}
	stderr, err := os.CreateTemp(filepath.Join(l.dir, "tmp"), "stderr-")
	if err != nil {
		return err
	}
	defer stderr.Close()
	defer os.Remove(stderr.Name())
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stderr = append(l.env(), env...), l.dir, stderr
	if stdout != nil {
		cmd.Stdout = stdout
	}
	// Builders clean up after themselves if they may; close does it otherwise.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(stderr.Name())
		return fmt.Errorf("%s: %w: %s", filepath.Base(argv[0]), err, lastLines(string(said), 3))
	}
	return nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// passedOn are the variables that commands of the lab inherit.
var passedOn = []string{
	"PATH", "LANG", "PYRO_DEBIAN_MIRROR", "PYRO_DEBIAN_SECURITY_MIRROR",
	"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
}

// env is the environment of all commands; the lab's folder is in it.
func (l *lab) env() []string {
	env := []string{"HOME=" + l.dir + "/home", "TMPDIR=" + l.dir + "/tmp"}
	for _, name := range passedOn {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// close frees the host of everything of the lab.
func (l *lab) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.dir == "" {
		return nil
	}
	var errs []error
	if l.driver != nil {
		errs = append(errs, l.closeDriver())
	}
	errs = append(errs, killAll(l.dir), unmountAll(l.dir))
	return errors.Join(append(errs, os.RemoveAll(l.dir))...)
}

func (l *lab) closeDriver() error {
	ctx := context.Background()
	ids, err := l.driver.List(ctx)
	errs := []error{err}
	for _, id := range ids {
		errs = append(errs, l.driver.Remove(ctx, id))
	}
	return errors.Join(append(errs, l.driver.Close())...)
}
