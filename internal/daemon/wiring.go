package daemon

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"

	"pyro/api"
	"pyro/internal/environment"
	"pyro/internal/runtime"
	"pyro/internal/runtime/gvisor"
	"pyro/internal/runtime/host"
	"pyro/internal/runtime/qemu"
	"pyro/internal/sandbox"
)

// parts are what the background process is made of.
type parts struct {
	environments environments
	images       sandbox.Environments
	isolated     []runtime.Driver // in the order in which RuntimeAuto wants them
	hostCompat   runtime.Driver
	missing      []api.RuntimeCheck // runtimes that are not there at all, for doctor
	runtime      api.Runtime        // what RuntimeAuto stands for; "" if it chooses
	closers      []io.Closer
}

// environments are the operations on environments.
type environments interface {
	List(ctx context.Context) (api.EnvironmentList, error)
	Pull(ctx context.Context, name string, progress environment.ProgressFunc) (api.Environment, error)
	Inspect(ctx context.Context, name string, verify bool) (api.Environment, error)
	Prune(ctx context.Context, all bool) (api.PruneResult, error)
	Import(ctx context.Context, name, source string, progress environment.ProgressFunc) (api.Environment, error)
}

// wire names the concrete parts. A runtime that cannot even be set up is part
// of it all the same: it says why whenever it is asked for something.
func wire(o Options, log *slog.Logger) (*parts, error) {
	p := &parts{}
	if err := p.setRuntime(o.Getenv); err != nil {
		return nil, err
	}
	var isolated runtime.Driver
	if d, err := gvisor.New(gvisor.Options{Dir: o.Dirs.Driver("gvisor"), OwnsStdio: true, Logger: log}); err == nil {
		isolated, p.closers = d, append(p.closers, d)
	} else {
		log.Error("the gvisor runtime cannot be set up", "error", err)
		isolated = unavailable{string(api.RuntimeGVisor), runtime.Features{Mode: api.GuestGVisor, Isolated: true, Limits: true, Network: true}, api.AsError(err)}
	}
	hostCompat, err := host.New(host.Options{Dir: o.Dirs.Driver("host")})
	if err != nil {
		return nil, err
	}
	p.hostCompat = hostCompat

	manager, err := environment.New(environment.Options{
		CacheDir: o.Dirs.Cache, ConfigDir: o.Dirs.Config, Getenv: o.Getenv, Logger: log,
		Configure: configurer(isolated),
	})
	if err != nil {
		return nil, err
	}
	p.environments, p.images = manager, images{manager}

	micro, err := qemu.New(qemu.Options{
		Dir: o.Dirs.Driver("qemu"), Kernel: kernels(manager), NoKVM: isOn(o.Getenv(qemu.NoKVMEnv)), Logger: log,
	})
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, micro)
	p.isolated = []runtime.Driver{micro, isolated}
	return p, nil
}

// RuntimeEnv names what --runtime auto stands for, instead of a choice.
const RuntimeEnv = "PYRO_RUNTIME"

func (p *parts) setRuntime(getenv func(string) string) error {
	value := api.Runtime(getenv(RuntimeEnv))
	if value == "" || value == api.RuntimeAuto {
		return nil
	}
	if !slices.Contains(value.Values(), string(value)) {
		return api.Errorf(api.KindUsage, "%s is %q, which is no runtime", RuntimeEnv, value).
			WithHint("set it to one of: %s", strings.Join(value.Values(), ", "))
	}
	p.runtime = value
	return nil
}

func isOn(s string) bool { return s != "" && s != "0" }

// kernels gives machines the kernel of the cache.
func kernels(m *environment.Manager) func(context.Context) (qemu.Kernel, error) {
	return func(ctx context.Context) (qemu.Kernel, error) {
		k, err := m.AcquireKernel(ctx, environment.KernelName())
		if err != nil {
			return qemu.Kernel{}, err
		}
		return qemu.Kernel{Image: k.Image, Modules: k.Initrd, ID: k.Digest, Release: k.Unhold}, nil
	}
}

// images is the environment manager as package vm wants it.
type images struct{ m *environment.Manager }

func (i images) Acquire(ctx context.Context, name string) (*sandbox.Image, error) {
	return held(i.m.Acquire(ctx, name))
}

func (i images) AcquireDigest(ctx context.Context, digest string) (*sandbox.Image, error) {
	return held(i.m.AcquireDigest(ctx, digest))
}

func held(image *environment.Image, err error) (*sandbox.Image, error) {
	if err != nil {
		return nil, err
	}
	return &sandbox.Image{Path: image.Path, Digest: image.Digest, Env: image.Config.Env, AptSources: image.AptSources, Release: image.Release}, nil
}

func (i images) Pull(ctx context.Context, name string, progress func(api.Progress)) error {
	_, err := i.m.Pull(ctx, name, progress)
	return err
}

// PullKernel looks before it leaps: a pull reads the whole kernel.
func (i images) PullKernel(ctx context.Context, progress func(api.Progress)) error {
	k, err := i.m.AcquireKernel(ctx, environment.KernelName())
	if err == nil {
		k.Unhold()
		return nil
	}
	return i.Pull(ctx, environment.KernelName(), progress)
}

// Known accepts what has been or could be installed.
func (i images) Known(ctx context.Context, name string) error {
	_, err := i.m.Inspect(ctx, name, false)
	if api.KindOf(err) == api.KindNotInstalled {
		return nil
	}
	return err
}

// unavailable is a driver that could not be set up.
type unavailable struct {
	name     string
	features runtime.Features
	why      *api.Error
}

func (u unavailable) Name() string               { return u.name }
func (u unavailable) Features() runtime.Features { return u.features }

func (u unavailable) error() error {
	return api.Errorf(api.KindUnavailable, "runtime %s: %w", u.name, u.why).WithHint("%s", u.why.Hint)
}

func (u unavailable) Create(context.Context, runtime.Spec) (runtime.Machine, error) {
	return nil, u.error()
}

func (u unavailable) Adopt(context.Context, runtime.Spec) (runtime.Machine, error) {
	return nil, u.error()
}
func (u unavailable) List(context.Context) ([]string, error) { return nil, u.error() }
func (u unavailable) Remove(context.Context, string) error   { return u.error() }
func (u unavailable) Probe(context.Context) error            { return u.error() }
