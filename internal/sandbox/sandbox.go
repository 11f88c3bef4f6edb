// Package sandbox holds what one-shot VMs and workspaces have in common: which
// runtime they run on, the images they start from, and how one command in a
// machine is run, cut off and judged.
package sandbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"pyro/api"
	"pyro/internal/runtime"
)

// Environments gives the images that sandboxes start from.
type Environments interface {
	// Acquire holds the installed environment's image until Release. The error
	// is of kind not_installed if the name is known but not in the cache.
	Acquire(ctx context.Context, name string) (*Image, error)
	// AcquireDigest holds the image with the digest. The error is of kind
	// not_found if it is not in the cache.
	AcquireDigest(ctx context.Context, digest string) (*Image, error)
	// Pull installs the environment. progress is not nil.
	Pull(ctx context.Context, name string, progress func(api.Progress)) error
	// PullKernel installs the kernel that machines boot, unless it is installed.
	PullKernel(ctx context.Context, progress func(api.Progress)) error
	// Known gives kind not_found for a name that means nothing.
	Known(ctx context.Context, name string) error
}

// Image is an environment's image that will not go away before Release.
type Image struct {
	Path   string   // the EROFS file
	Digest string   // sha256:...
	Env    []string // variables that the image's configuration sets
	// AptSources is what apt in the sandbox shall use with a network; may be empty.
	AptSources string
	Release    func() // required; called once
}

// WorkspacePrefix begins the ids of workspaces' machines, by which they are told
// from those of one-shot VMs.
const WorkspacePrefix = "ws-"

// NewID returns the prefix and 12 random hexadecimal digits.
func NewID(prefix string) string {
	var b [6]byte
	rand.Read(b[:])
	return prefix + hex.EncodeToString(b[:])
}

// AcquireOrPull acquires the environment's image, installing it if needed.
func AcquireOrPull(ctx context.Context, e Environments, name string, progress func(api.Progress)) (*Image, error) {
	image, err := e.Acquire(ctx, name)
	if api.KindOf(err) != api.KindNotInstalled {
		return image, err
	}
	if err := e.Pull(ctx, name, progress); err != nil {
		return nil, err
	}
	return e.Acquire(ctx, name)
}

// Prepare installs what machines of a driver need beside their images, and refuses
// those that need what only the user can install. own is the path of a kernel that
// the user brought, or "".
func Prepare(ctx context.Context, e Environments, driver runtime.Driver, own string, progress func(api.Progress)) error {
	if r, ok := driver.(runtime.Requirer); ok {
		if err := r.Require(); err != nil {
			return err
		}
	}
	switch boots := driver.Features().Kernel; {
	case own != "" && !boots:
		return api.Errorf(api.KindUsage, "a kernel was given, but %s sandboxes have none of their own", driver.Name()).
			WithHint("use --runtime vm, or leave out --kernel")
	case own != "" || !boots:
		return nil
	}
	return e.PullKernel(ctx, progress)
}

// DeathOf says why a machine ended that is done.
func DeathOf(machine runtime.Machine) *api.Error {
	if err := machine.Err(); err != nil {
		return api.AsError(err)
	}
	return api.Errorf(api.KindSandboxDied, "sandbox %s ended", machine.ID())
}

// Joined returns a context that ends with either of two; its cause tells which.
func Joined(ctx, other context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(other, func() { cancel(context.Cause(other)) })
	return ctx, func() { stop(); cancel(nil) }
}

// CanceledOr returns why ctx ended if it has, else err.
func CanceledOr(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	if cause := context.Cause(ctx); cause != ctx.Err() {
		return cause
	}
	return api.Errorf(api.KindCanceled, "the caller went away")
}
