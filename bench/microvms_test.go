package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pyro/internal/runtime"
	"pyro/internal/runtime/qemu"
)

// runMicroVMs is the program behind make bench-microvms.
func runMicroVMs(ctx context.Context) error {
	machine := describeMachine()
	var table strings.Builder
	if err := hold(ctx, &table, []maker{{"microvms", microVMContest}}); err != nil {
		return err
	}
	return publish(*docFlag, [2]string{"microvms", machine + "\n" + table.String()})
}

// The figures of a machine's life.
const (
	figureStart  = "start"
	figureExec   = "exec"
	figureOutput = "output"
	figureInput  = "input"
	figureMemory = "memory"
)

// transferred is how much goes through a command's streams, in bytes.
const transferred = 32 << 20

// microVMContest: the same machine under QEMU and in gVisor.
func microVMContest(ctx context.Context) (*contest, error) {
	sandboxes, err := newDriver()
	if err != nil {
		return nil, err
	}
	machines, err := newMicroVMs()
	if err != nil {
		return nil, err
	}
	ours := "microVM under KVM"
	if err := machines.Suits(ctx); err != nil {
		ours = "microVM, **emulated**"
	}
	const other = "gVisor"
	server, err := serveLoads()
	if err != nil {
		return nil, err
	}
	c := &contest{rounds: 7, end: server.Close, contenders: []contender{
		{name: ours, ours: true, once: func(ctx context.Context) (figures, error) {
			return withTraffic(ctx, machines.Driver, machines.image, machinesFolder, server)
		}},
		{name: other, ours: true, once: func(ctx context.Context) (figures, error) {
			return withTraffic(ctx, sandboxes.Driver, sandboxes.image, "driver", server)
		}},
	}}
	for _, r := range []row{
		{what: "make a machine, until its agent answers", figure: figureStart, unit: duration},
		{what: "run `true` in it, median of 20", figure: figureExec, unit: duration},
		{what: "take a command's output", figure: figureOutput, unit: speed},
		{what: "give a command its input", figure: figureInput, unit: speed},
		{what: "memory of an idle one, PSS of its processes", figure: figureMemory, unit: megabytes},
	} {
		r.pyro, r.other = ours, other
		c.rows = append(c.rows, r)
	}
	for _, l := range loads {
		c.rows = append(c.rows, row{what: l.what, figure: l.name, unit: l.unit, pyro: ours, other: other})
	}
	return c, nil
}

// withTraffic measures a machine, and then another one's network.
func withTraffic(ctx context.Context, d runtime.Driver, image, folder string, server *loadServer) (figures, error) {
	f, err := lifeOf(ctx, d, image, folder)
	if err != nil {
		return nil, err
	}
	p, err := server.policy()
	if err != nil {
		return nil, err
	}
	spec := theLab.spec(image)
	spec.Network = &runtime.Network{Policy: p}
	m, err := d.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	inside := func(ctx context.Context, argv ...string) error {
		return execute(ctx, m, runtime.Command{Argv: argv, Dir: "/"})
	}
	traffic, err := server.measure(inside, gatewayHost)(ctx)
	m.Close()
	maps.Copy(f, traffic)
	return f, errors.Join(err, d.Remove(context.WithoutCancel(ctx), spec.ID))
}

func speed(v float64) string { return fmt.Sprintf("%.0f MB/s", v/1e6) }

// machinesFolder is where the lab has its microVMs.
const machinesFolder = "microvms"

// microVMs is the driver together with the image it is measured with.
type microVMs struct {
	*qemu.Driver
	image string
}

func newMicroVMs() (microVMs, error) {
	p, err := warmCLI()
	if err != nil {
		return microVMs{}, err
	}
	const name = "kernel:debian-12"
	if err := p.run(theLab.ctx, "env", "pull", name); err != nil {
		return microVMs{}, err
	}
	kernel, err := p.imageOf(name)
	if err != nil {
		return microVMs{}, err
	}
	path, err := image()
	if err != nil {
		return microVMs{}, err
	}
	dir, err := theLab.folder(machinesFolder)
	if err != nil {
		return microVMs{}, err
	}
	program, err := pyroProgram()
	if err != nil {
		return microVMs{}, err
	}
	d, err := qemu.New(qemu.Options{Dir: dir, Executable: program, NoKVM: os.Getenv(qemu.NoKVMEnv) != "", Kernel: func(context.Context) (qemu.Kernel, error) {
		return qemu.Kernel{Image: kernel, Modules: filepath.Join(filepath.Dir(kernel), "initrd"), ID: kernel, Release: func() {}}, nil
	}})
	return microVMs{d, path}, err
}

// lifeOf measures one machine from its start to its removal. folder is the
// driver's in the lab, by which the machine's processes are known.
func lifeOf(ctx context.Context, d runtime.Driver, image, folder string) (f figures, err error) {
	spec := theLab.spec(image)
	start := time.Now()
	m, err := d.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	defer func() {
		m.Close()
		err = errors.Join(err, d.Remove(context.WithoutCancel(ctx), spec.ID))
	}()
	f = took(start)
	f[figureStart] = f[""]
	if err := execTrue(ctx, m); err != nil {
		return nil, err
	}
	dir, err := theLab.folder(folder)
	if err != nil {
		return nil, err
	}
	f[figureMemory] = pss(processesOf(dir, true))
	var times []float64
	for range 20 {
		begun := time.Now()
		if err := execTrue(ctx, m); err != nil {
			return nil, err
		}
		times = append(times, time.Since(begun).Seconds())
	}
	f[figureExec] = median(times)
	var got counter
	begun := time.Now()
	err = execute(ctx, m, runtime.Command{Argv: []string{"head", "-c", fmt.Sprint(transferred), "/dev/zero"}, Dir: "/", Stdout: &got})
	if err == nil && got != transferred {
		err = fmt.Errorf("%d bytes came of %d", got, transferred)
	}
	if err != nil {
		return nil, err
	}
	f[figureOutput] = transferred / time.Since(begun).Seconds()
	begun = time.Now()
	if err := execute(ctx, m, runtime.Command{Argv: []string{"wc", "-c"}, Dir: "/", Stdin: io.LimitReader(zeros{}, transferred)}); err != nil {
		return nil, err
	}
	f[figureInput] = transferred / time.Since(begun).Seconds()
	return f, nil
}
