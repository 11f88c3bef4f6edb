package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"pyro/api"
	"pyro/internal/runtime"
	"pyro/internal/runtime/gvisor"
)

// pyroProgram is the program that is measured.
func pyroProgram() (string, error) {
	path := os.Getenv("PYRO_BIN")
	if path == "" {
		path = "../bin/pyro"
	}
	return program(path, "run make build, or set PYRO_BIN")
}

func program(path, remedy string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(path); err != nil || info.Mode()&0o111 == 0 {
		return "", fmt.Errorf("%s is not a program: %s", path, remedy)
	}
	return path, nil
}

// environment is what most is measured with.
const environment = "debian:12"

// cli is pyro as a command, with a state folder of its own.
type cli struct {
	program string
	env     []string
}

// newCLI uses the given folder of the lab for state and configuration, and
// cache for environments.
func newCLI(folder, cache string) (*cli, error) {
	bin, err := pyroProgram()
	if err != nil {
		return nil, err
	}
	dir, err := theLab.folder(folder)
	if err != nil {
		return nil, err
	}
	return &cli{bin, []string{
		"PYRO_STATE_DIR=" + filepath.Join(dir, "s"), "PYRO_CONFIG_DIR=" + filepath.Join(dir, "c"), "PYRO_CACHE_DIR=" + cache,
	}}, nil
}

func (p *cli) run(ctx context.Context, args ...string) error {
	return theLab.command(ctx, p.env, nil, append([]string{p.program}, args...)...)
}

// stop ends the background process and what it has made.
func (p *cli) stop(ctx context.Context) error { return p.run(ctx, "daemon", "stop", "--force") }

// answer runs a command with --json and reads its document into res.
func (p *cli) answer(ctx context.Context, res any, args ...string) error {
	var out strings.Builder
	if err := theLab.command(ctx, p.env, &out, append([]string{p.program}, append(args, "--json")...)...); err != nil {
		return err
	}
	return json.Unmarshal([]byte(out.String()), res)
}

// installedCLI is a CLI of its own that finds an environment installed in the
// cache that is kept for the next time.
func installedCLI(folder, environment string) (*cli, error) {
	cache, err := filepath.Abs(cmp.Or(os.Getenv("PYRO_TEST_CACHE_DIR"), "../bin/bench/cache"))
	if err != nil {
		return nil, err
	}
	p, err := newCLI(folder, cache)
	if err != nil {
		return nil, err
	}
	return p, p.run(theLab.ctx, "env", "pull", environment)
}

// imageOf is the path of the image of an environment that is installed.
func (p *cli) imageOf(environment string) (string, error) {
	var env api.Environment
	err := p.answer(theLab.ctx, &env, "env", "inspect", environment)
	return env.Path, err
}

// warmCLI is pyro as a command with debian:12 installed.
var warmCLI = sync.OnceValues(func() (*cli, error) { return installedCLI("cli", environment) })

// testImage is the image to measure with if it is not that of debian:12.
func testImage() string { return os.Getenv("PYRO_TEST_IMAGE") }

// image is the path of the image that sandboxes get.
var image = sync.OnceValues(func() (string, error) {
	if path := testImage(); path != "" {
		return path, nil
	}
	p, err := warmCLI()
	if err != nil {
		return "", err
	}
	return p.imageOf(environment)
})

// driver is the driver together with the image it is measured with.
type driver struct {
	*gvisor.Driver
	image string
}

func newDriver() (driver, error) {
	d, err := theLab.gvisor()
	if err != nil {
		return driver{}, err
	}
	path, err := image()
	return driver{d, path}, err
}

func (d driver) create(ctx context.Context) (runtime.Machine, error) {
	return theLab.create(ctx, d.Driver, theLab.spec(d.image))
}

func (d driver) remove(m runtime.Machine) error { return d.Remove(context.Background(), m.ID()) }

// execTrue runs a command that does nothing.
func execTrue(ctx context.Context, m runtime.Machine) error {
	return execute(ctx, m, runtime.Command{Argv: []string{"/bin/true"}, Dir: "/"})
}

// execute runs a command that must succeed.
func execute(ctx context.Context, m runtime.Machine, cmd runtime.Command) error {
	p, err := m.Start(ctx, cmd)
	if err != nil {
		return err
	}
	exit, err := p.Wait()
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("%q ended with exit code %d", cmd.Argv, exit.Code)
	}
	return err
}

// life makes a sandbox and runs a command in it. Removing it counts if whole.
func (d driver) life(ctx context.Context, whole bool) (figures, error) {
	start := time.Now()
	m, err := d.create(ctx)
	if err != nil {
		return nil, err
	}
	err = execTrue(ctx, m)
	until := took(start)
	if removeErr := d.remove(m); err == nil {
		err = removeErr
	}
	if whole {
		until = took(start)
	}
	return until, err
}
