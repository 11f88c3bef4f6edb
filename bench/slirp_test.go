package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// slirp is a network namespace whose way out is slirp4netns, which is to
// containers without root what pyro's uplink is to its sandboxes. Its MTU is the
// one that Podman and rootless Docker give it.
type slirp struct {
	holder  *exec.Cmd // keeps the namespace
	program *exec.Cmd
	exit    io.Closer // slirp4netns ends when it is closed
	before  *slirp    // ends with this one; may be nil
}

const slirpMTU = "65520"

func newSlirp(ctx context.Context) (*slirp, error) {
	path, err := exec.LookPath("slirp4netns")
	if err != nil {
		return nil, errors.New("needs slirp4netns")
	}
	s := &slirp{holder: exec.CommandContext(ctx, "/bin/sleep", "infinity")}
	s.holder.Env = theLab.env()
	s.holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := s.holder.Start(); err != nil {
		return nil, err
	}
	exitRead, exit, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, s.end())
	}
	defer exitRead.Close()
	s.exit = exit
	ready, tell, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, s.end())
	}
	defer ready.Close()
	defer tell.Close()
	s.program = exec.CommandContext(ctx, path, "--configure", "--mtu="+slirpMTU, "--ready-fd=3", "--exit-fd=4", fmt.Sprint(s.holder.Process.Pid), "tap0")
	s.program.Env, s.program.ExtraFiles = theLab.env(), []*os.File{tell, exitRead}
	if err := s.program.Start(); err != nil {
		s.program = nil
		return nil, errors.Join(err, s.end())
	}
	tell.Close()
	_ = ready.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		return nil, errors.Join(fmt.Errorf("slirp4netns is not ready: %w", err), s.end())
	}
	return s, nil
}

// enter is a command in the namespace.
func (s *slirp) enter(argv ...string) []string {
	return append([]string{"nsenter", "--net=" + s.namespace(), "--"}, argv...)
}

func (s *slirp) namespace() string { return fmt.Sprintf("/proc/%d/ns/net", s.holder.Process.Pid) }

// sandboxed is a command of runsc that takes over the network of its bundle's
// namespace.
func (r *runsc) sandboxed(arg ...string) []string {
	return append([]string{
		r.program, "--root=" + filepath.Join(r.dir, "root"), "--platform=systrap", "--network=sandbox", "--ignore-cgroups",
		"--overlay2=root:dir=" + r.overlay(),
	}, arg...)
}

// bundle writes a bundle like another of runsc's, in this network namespace, and
// returns its folder.
func (s *slirp) bundle(r *runsc, name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(r.bundle(name), "config.json"))
	if err != nil {
		return "", err
	}
	var spec specs.Spec
	if err := json.Unmarshal(b, &spec); err != nil {
		return "", err
	}
	for i, n := range spec.Linux.Namespaces {
		if n.Type == specs.NetworkNamespace {
			spec.Linux.Namespaces[i].Path = s.namespace()
		}
	}
	if b, err = json.Marshal(spec); err != nil {
		return "", err
	}
	dir := r.bundle("slirp-" + name)
	if err := os.MkdirAll(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "config.json"), b, 0o644)
}

// startContainer makes a container of runsc that sleeps, with the namespace's network.
func (s *slirp) startContainer(ctx context.Context, c *container) error {
	bundle, err := s.bundle(c.runsc, "sleep")
	if err != nil {
		return err
	}
	return theLab.command(ctx, nil, nil, c.runsc.sandboxed("run", "--detach", "--bundle="+bundle, c.id)...)
}

func (s *slirp) end() error {
	if s.exit != nil {
		s.exit.Close()
	}
	if s.program != nil {
		_ = s.program.Wait() // it was told to end
	}
	_ = s.holder.Process.Kill()
	_ = s.holder.Wait()
	if s.before != nil {
		return s.before.end()
	}
	return nil
}
