package environment

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/debian"
)

// oneKernel gives a small kernel, and counts.
type oneKernel struct{ fetched atomic.Int32 }

func (o *oneKernel) fetch(context.Context, kernelRequest) (*debian.Kernel, string, error) {
	o.fetched.Add(1)
	return &debian.Kernel{
		Release: "6.1.0-test", Image: []byte("a kernel"), ModTime: time.Unix(1_700_000_000, 0),
		Modules: []debian.KernelModule{{Name: "first", Data: []byte("1")}, {Name: "second", Data: []byte("2")}},
		Lock:    []debian.LockedPackage{{Name: "linux", Version: "6.1"}},
	}, "http://mirror.example", nil
}

func kernelManager(t *testing.T) (*Manager, *oneKernel) {
	t.Helper()
	m := newManager(t, func(o *Options) { o.Arch = "amd64" })
	o := &oneKernel{}
	m.kernels = o
	return m, o
}

func TestKernel(t *testing.T) {
	m, archive := kernelManager(t)
	name := KernelName()
	_, err := m.AcquireKernel(t.Context(), name)
	wantKind(t, err, api.KindNotInstalled, name)
	var pulls sync.WaitGroup
	for range 4 { // only one of them fetches
		pulls.Go(func() {
			if env, err := m.Pull(t.Context(), name, nil); err != nil || !env.Installed || env.Name != name {
				t.Errorf("pull: %+v, %v", env, err)
			}
		})
	}
	pulls.Wait()
	k, err := m.AcquireKernel(t.Context(), name)
	check(t, err)
	image, err := os.ReadFile(k.Image)
	check(t, err)
	initrd, err := os.ReadFile(k.Initrd)
	check(t, err)
	if string(image) != "a kernel" || k.Release != "6.1.0-test" || archive.fetched.Load() != 1 {
		t.Errorf("kernel %q, release %q, fetched %d times", image, k.Release, archive.fetched.Load())
	}
	if !bytes.Contains(initrd, []byte("modules/00-first.ko")) || !bytes.Contains(initrd, []byte("modules/01-second.ko")) {
		t.Errorf("initramfs %q", initrd)
	}
	env, err := m.Inspect(t.Context(), name, true)
	check(t, err)
	if env.Path != k.Image || !env.Verified || len(env.Packages) != 1 {
		t.Errorf("inspect: %+v", env)
	}
	list, err := m.List(t.Context())
	check(t, err)
	if len(list.Kernels) != 1 || !list.Kernels[0].Installed {
		t.Errorf("list: %+v", list.Kernels)
	}
	_, err = m.Acquire(t.Context(), name)
	wantKind(t, err, api.KindUsage, "is a kernel")
	k.Unhold()
	k.Unhold() // harmless
	emptyTmp(t, m)
}

func TestDamagedKernel(t *testing.T) {
	m, archive := kernelManager(t)
	name := KernelName()
	pull := func() {
		t.Helper()
		_, err := m.Pull(t.Context(), name, nil)
		check(t, err)
	}
	for i, damage := range []func(k *Kernel){
		func(k *Kernel) { check(t, os.Truncate(k.Initrd, 3)) },
		func(k *Kernel) { check(t, os.Remove(k.Image)) },
		func(k *Kernel) { check(t, os.RemoveAll(filepath.Dir(k.Image))) },
		func(*Kernel) { check(t, os.WriteFile(m.cache.kernelRecord(name, m.arch), []byte("{"), 0o600)) },
	} {
		pull()
		k, err := m.AcquireKernel(t.Context(), name)
		check(t, err)
		k.Unhold()
		damage(k)
		_, err = m.AcquireKernel(t.Context(), name)
		wantKind(t, err, api.KindVerification)
		pull()
		if got := archive.fetched.Load(); got != int32(i+2) {
			t.Errorf("after damage %d it was fetched %d times", i, got)
		}
	}
	k, err := m.AcquireKernel(t.Context(), name)
	check(t, err)
	k.Unhold()
	check(t, os.Chmod(k.Image, 0o600))
	flip(t, k.Image, 3)
	_, err = m.Inspect(t.Context(), name, true)
	wantKind(t, err, api.KindVerification)
}

func TestPruneKernels(t *testing.T) {
	m, _ := kernelManager(t)
	name := KernelName()
	_, err := m.Pull(t.Context(), name, nil)
	check(t, err)
	res, err := m.Prune(t.Context(), false)
	check(t, err)
	if len(res.Removed) != 0 {
		t.Errorf("an installed kernel was pruned: %v", res.Removed)
	}
	k, err := m.AcquireKernel(t.Context(), name)
	check(t, err)
	res, err = m.Prune(t.Context(), true)
	check(t, err)
	if diff := cmp.Diff([]string{"kernel"}, types(res)); diff != "" { // the record alone
		t.Error(diff)
	}
	if _, err := os.Stat(k.Image); err != nil {
		t.Errorf("the kernel in use: %v", err)
	}
	k.Unhold()
	res, err = m.Prune(t.Context(), false)
	check(t, err)
	if diff := cmp.Diff([]string{"kernel"}, types(res)); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(k.Image); err == nil {
		t.Error("the kernel is still there")
	}
}

func TestKernelOffline(t *testing.T) {
	m := newManager(t, func(o *Options) { o.Arch, o.Offline = "amd64", true })
	_, err := m.Pull(t.Context(), KernelName(), nil)
	wantKind(t, err, api.KindNotInstalled, "offline")
	m = newManager(t, func(o *Options) { o.Arch = "arm64" })
	_, err = m.Pull(t.Context(), KernelName(), nil)
	wantKind(t, err, api.KindUnsupported, "arm64")
}
