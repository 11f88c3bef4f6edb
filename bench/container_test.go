package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// untarScript unpacks a tar into /workspace in a sandbox.
const untarScript = "mkdir -p /workspace && exec tar -C /workspace -xf -"

// container is a container of raw runsc that holds a project in /workspace, as
// one has it without pyro.
type container struct {
	runsc *runsc
	id    string
}

// fill makes a container and untars a project into it.
func (r *runsc) fill(ctx context.Context, project string) (*container, error) {
	c := &container{r, r.newID()}
	if err := r.start(ctx, c.id, false); err != nil {
		return c, err
	}
	return c, c.untar(ctx, project)
}

// untar sends all of a project into the container.
func (c *container) untar(ctx context.Context, project string) error {
	argv := []string{"/bin/sh", "-c", `d=$1; shift; tar -C "$d" -cf - . | "$@"`, "sh", project}
	return theLab.command(ctx, nil, nil, append(argv, c.runsc.command("exec", c.id, "/bin/sh", "-c", untarScript)...)...)
}

// tar takes all of /workspace out of the container into a folder.
func (c *container) tar(ctx context.Context, into string) error {
	argv := []string{"/bin/sh", "-c", `d=$1; shift; "$@" | tar -C "$d" -xf -`, "sh", into}
	return theLab.command(ctx, nil, nil, append(argv, c.runsc.command("exec", c.id, "tar", "-C", "/workspace", "-cf", "-", ".")...)...)
}

// exec runs a script in /workspace and returns what it prints.
func (c *container) exec(ctx context.Context, script string) (string, error) {
	var out strings.Builder
	err := theLab.command(ctx, nil, &out, c.runsc.command("exec", c.id, "/bin/sh", "-ec", "cd /workspace; "+script)...)
	return out.String(), err
}

func (c *container) delete() error { return c.runsc.delete(c.id) }

// checkpoint saves the file system of the container into a new folder, whole,
// while the container runs.
func (c *container) checkpoint(ctx context.Context) (dir string, err error) {
	if dir, err = os.MkdirTemp(c.runsc.dir, "checkpoint-"); err != nil {
		return "", err
	}
	return dir, c.runsc.run(ctx, "fscheckpoint", "--leave-running", "--image-path="+dir, c.id)
}

// seeded makes a container that begins with a project as a tar of its root's
// writable layer, the way of gVisor's own for that. The project's parent folder
// becomes the root.
func (r *runsc) seeded(ctx context.Context, project string) (*container, error) {
	c := &container{r, r.newID()}
	tar := []string{"tar", "-C", filepath.Dir(project), "-cf", r.seedTar(), "."}
	if err := theLab.command(ctx, nil, nil, tar...); err != nil {
		return c, err
	}
	return c, r.run(ctx, "--allow-rootfs-tar-annotation", "run", "--detach", "--bundle="+r.bundle("seeded"), c.id)
}

// restored makes a container from a saved file system.
func (r *runsc) restored(ctx context.Context, checkpoint string) (*container, error) {
	c := &container{r, r.newID()}
	return c, r.run(ctx, "run", "--detach", "--fs-restore-image-path="+checkpoint, "--bundle="+r.bundle("sleep"), c.id)
}

// firstExec makes a container, runs a first command in it and deletes it, which
// does not count.
func firstExec(ctx context.Context, start time.Time, make func() (*container, error)) (figures, error) {
	c, err := make()
	if err == nil {
		err = c.runsc.run(ctx, "exec", c.id, "/bin/true")
	}
	until := took(start)
	return until, errors.Join(err, c.delete())
}
