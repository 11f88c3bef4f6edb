package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// runsc is gVisor's own program, set up as pyro sets up gVisor: the same image
// as the root, under an overlay in a folder, no network, no cgroups. What has
// no part in that is left at runsc's defaults.
type runsc struct {
	program, dir string
}

var newRunsc = sync.OnceValues(func() (*runsc, error) {
	img, err := image()
	if err != nil {
		return nil, err
	}
	return runscOf(img, "runsc")
})

// runscOf is runsc with a folder of the lab, for sandboxes of an image.
func runscOf(img, folder string) (*runsc, error) {
	path, err := program(cmp.Or(os.Getenv("PYRO_BENCH_RUNSC"), "../bin/tools/runsc"), "run make bench, or set PYRO_BENCH_RUNSC")
	if err != nil {
		return nil, err
	}
	dir, err := theLab.folder(folder)
	if err != nil {
		return nil, err
	}
	r := &runsc{program: path, dir: dir}
	if err := r.writeBundle("true", img, []string{"/bin/true"}, nil); err != nil {
		return nil, err
	}
	if err := r.writeBundle("sleep", img, []string{"/bin/sleep", "infinity"}, nil); err != nil {
		return nil, err
	}
	return r, r.writeBundle("seeded", img, []string{"/bin/sleep", "infinity"}, map[string]string{"dev.gvisor.tar.rootfs.upper": r.seedTar()})
}

func (r *runsc) overlay() string           { return filepath.Join(r.dir, "overlay") }
func (r *runsc) bundle(name string) string { return filepath.Join(r.dir, name) }
func (r *runsc) seedTar() string           { return filepath.Join(r.dir, "seed.tar") } // of the bundle "seeded"
func (r *runsc) command(arg ...string) []string {
	return append([]string{
		r.program, "--root=" + filepath.Join(r.dir, "root"), "--platform=systrap", "--network=none", "--ignore-cgroups",
		"--overlay2=root:dir=" + r.overlay(),
	}, arg...)
}

// writeBundle writes what runsc reads,
// https://github.com/opencontainers/runtime-spec/blob/main/bundle.md.
func (r *runsc) writeBundle(name, img string, args []string, annotations map[string]string) error {
	dir := r.bundle(name)
	for _, d := range []string{filepath.Join(dir, "rootfs"), r.overlay(), r.bundle("shared"), r.bundle("root")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	spec := specs.Spec{
		Version: specs.Version, Hostname: "bench",
		Process: &specs.Process{Args: args, Cwd: "/", Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}},
		Root:    &specs.Root{Path: "rootfs"},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro"}},
			// Without a bind mount this version panics over an overlay in a folder.
			{Destination: "/run/bench", Type: "bind", Source: r.bundle("shared"), Options: []string{"ro", "rbind"}},
		},
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace},
			{Type: specs.NetworkNamespace},
			{Type: specs.IPCNamespace},
			{Type: specs.UTSNamespace},
			{Type: specs.MountNamespace},
		}},
		Annotations: map[string]string{
			"dev.gvisor.spec.rootfs.source":  img,
			"dev.gvisor.spec.rootfs.type":    "erofs",
			"dev.gvisor.spec.rootfs.overlay": "dir=" + r.overlay(),
			"dev.gvisor.spec.rootfs.options": fmt.Sprintf("size=%d", theLab.spec(img).DiskBytes),
		},
	}
	maps.Copy(spec.Annotations, annotations)
	b, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), b, 0o644)
}

// run runs runsc.
func (r *runsc) run(ctx context.Context, arg ...string) error {
	return theLab.command(ctx, nil, nil, r.command(arg...)...)
}

func (r *runsc) newID() string { return theLab.spec("").ID }

// delete removes a container. It is no error if there is none.
func (r *runsc) delete(id string) error {
	return r.run(context.Background(), "delete", "--force", id)
}

// start makes a container that sleeps, by the two steps of the OCI runtime
// interface or by the one of runsc's own.
func (r *runsc) start(ctx context.Context, id string, steps bool) error {
	if !steps {
		return r.run(ctx, "run", "--detach", "--bundle="+r.bundle("sleep"), id)
	}
	if err := r.run(ctx, "create", "--bundle="+r.bundle("sleep"), id); err != nil {
		return err
	}
	return r.run(ctx, "start", id)
}

// life makes a container and runs a command in it; removing it does not count.
func (r *runsc) life(ctx context.Context, steps bool) (figures, error) {
	id := r.newID()
	start := time.Now()
	err := r.start(ctx, id, steps)
	if err == nil {
		err = r.run(ctx, "exec", id, "/bin/true")
	}
	until := took(start)
	if deleteErr := r.delete(id); err == nil {
		err = deleteErr
	}
	return until, err
}
