// Package environment knows the environments, the root file systems that
// sandboxes start from: which there are, how one is made, and where it is kept.
//
// # Terms
//
// An environment has a name ("debian:12"). The names that mean something are
// those of the built-in catalogue, those of the user's own entries in the config
// folder, those made by import, and references to container images
// ("docker.io/library/debian:12", pulled as docker://debian:12). An image is the
// EROFS file that an installed environment is; it is named by its SHA-256, so two
// environments may share one. To pull is to make sure that an environment is
// installed and whole.
//
// # Sources
//
// A pull gets its root file system from a registry (packages oci) or builds it
// from the Debian archive by a recipe (package debian), whose maintainer scripts
// run in a sandbox that the caller provides as [ConfigureFunc]. An import reads an
// archive or a folder. All of them fill a tree, and the tree is written as an
// image: nothing is ever unpacked to the host.
//
// # The cache on disk
//
//	CACHE/
//	├── blobs/sha256/<hex>             downloads (.deb, package indexes, layers), deletable at any time
//	├── blobs/sha256/<hex>.part        an unfinished one, resumed by the next pull
//	├── indexes/last-seen.json         newest date seen of each suite's InRelease
//	├── images/sha256/<hex>/
//	│   ├── rootfs.erofs               the image, mode 0444; <hex> is its SHA-256
//	│   └── meta.json                  where it came from, what is in it: [Meta]
//	├── envs/<name>@<arch>.json        which image an environment is: [Record]; there = installed
//	├── kernels/sha256/<hex>/          a kernel for machines with one of their own
//	│   ├── vmlinuz                    as the boot loader takes it
//	│   ├── initrd                     the modules it needs, as an initramfs
//	│   └── meta.json                  where it came from: [KernelMeta]
//	├── kernels/<name>@<arch>.json     which kernel a name is: a copy of that meta.json; there = installed
//	├── locks/<key>                    empty files that are flock'ed
//	└── tmp/<random>/                  work in progress, with the file "lock" held by whoever works there
//
// Everything is written in tmp/, synced and renamed, the record last. So a
// process that is killed at any moment leaves an environment installed or not
// installed, and what it leaves in tmp/ is removed by the next pull or prune.
//
// # Locks
//
// In this order, and never the other way round:
//
//	store          shared by whoever installs, exclusive to prune
//	env-<name>     exclusive to whoever installs or removes that environment
//	image-<hex>    shared by sandboxes that use the image, exclusive to who deletes it
//	kernel-<hex>   shared by machines while they boot, exclusive to who deletes it
//
// They are flocks: the kernel lets go of them when a process dies.
package environment

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"pyro/api"
	"pyro/internal/oci"
)

// Options say how a Manager works.
type Options struct {
	// CacheDir is the cache folder; it is made if needed. Required.
	CacheDir string
	// ConfigDir holds the user's entries, environments/*.json. "" for none.
	ConfigDir string
	// Arch is the architecture of the environments, in Go's spelling. "" for the host's.
	Arch string
	// Offline refuses to touch the network. PYRO_OFFLINE=1 does the same.
	Offline bool
	// Configure runs maintainer scripts. Without it, recipes cannot be built.
	Configure ConfigureFunc
	// Getenv reads the environment (mirrors, PYRO_OFFLINE); nil for os.Getenv.
	Getenv func(string) string
	// Logger gets what no caller sees, such as leftovers that were removed; nil for none.
	Logger *slog.Logger
	// PlainHTTP lists registries, beside those on loopback, that speak no TLS.
	PlainHTTP []string
}

// ConfigureFunc starts a sandbox on an image, runs a command in it as root,
// without network and with a writable layer over the image, and returns that
// layer as a tar with the whiteouts of overlayfs. The command's output goes to
// Log while it runs. A command that fails is an error. The caller closes upper,
// after which nothing of the sandbox is left.
type ConfigureFunc func(ctx context.Context, r ConfigureRequest) (upper io.ReadCloser, err error)

// ConfigureRequest is what a ConfigureFunc is asked to run.
type ConfigureRequest struct {
	Image string    // path of the EROFS image to start from
	Argv  []string  // command and arguments
	Env   []string  // its whole environment, NAME=VALUE
	Log   io.Writer // takes standard output and error
}

// Manager installs environments and hands out their images. Any number of
// Managers, in any number of processes, may share one cache.
type Manager struct {
	cache     *cache
	configDir string
	arch      string
	offline   bool
	configure ConfigureFunc
	getenv    func(string) string
	log       *slog.Logger
	plainHTTP []string
	packages  packageBuilder
	kernels   kernelFetcher
}

// New returns a Manager. It makes the folders of the cache and nothing else.
func New(o Options) (*Manager, error) {
	m := &Manager{
		cache:     &cache{dir: o.CacheDir},
		configDir: o.ConfigDir,
		arch:      cmp.Or(o.Arch, runtime.GOARCH),
		configure: o.Configure,
		getenv:    o.Getenv,
		log:       o.Logger,
		plainHTTP: o.PlainHTTP,
	}
	if m.getenv == nil {
		m.getenv = os.Getenv
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	m.offline = o.Offline || isTrue(m.getenv("PYRO_OFFLINE"))
	m.packages = debianBuilder{getenv: m.getenv, log: m.log}
	m.kernels = debianKernels{getenv: m.getenv, log: m.log}
	if !filepath.IsAbs(o.CacheDir) {
		return nil, api.Errorf(api.KindInternal, "cache folder %q is not an absolute path", o.CacheDir)
	}
	return m, m.cache.make()
}

func isTrue(s string) bool {
	return !slices.Contains([]string{"", "0", "false", "no", "off"}, strings.ToLower(s))
}

// platform is what this Manager's environments run on.
func (m *Manager) platform() oci.Platform {
	return oci.Platform{OS: "linux", Architecture: m.arch}
}

func (m *Manager) registry() *oci.Registry {
	return &oci.Registry{Blobs: m.cache, Mirror: m.getenv("PYRO_REGISTRY_MIRROR"), PlainHTTP: m.plainHTTP}
}
