package environment

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"pyro/api"
	"pyro/internal/debian"
	"pyro/internal/initramfs"
)

// KernelEntry is a kernel of the catalogue.
type KernelEntry struct {
	Name        string   `json:"name"`
	Version     string   `json:"version"`
	Description string   `json:"description"`
	Platforms   []string `json:"platforms"`
	Suites      []string `json:"suites"`
	Package     string   `json:"package"` // the meta package that depends on the newest kernel
	// Modules are those that a guest needs; what they depend on comes by itself.
	Modules []string `json:"modules"`
}

// asEntry lends a kernel what environments have, so that both are shown and
// checked by the same code.
func (k *KernelEntry) asEntry() *Entry {
	return &Entry{
		Name: k.Name, Version: k.Version, Description: k.Description, Platforms: k.Platforms,
		Recipe: &Recipe{Suites: k.Suites, Components: []string{"main"}, Packages: []string{k.Package}},
	}
}

const (
	kernelFile = "vmlinuz"
	initrdFile = "initrd"
	// kernelSpace is what fetching a kernel takes: the package and the files.
	kernelSpace = 128 << 20
	// modulesDir is where the initrd has the modules, named NN-NAME.ko in the order
	// in which they are to be loaded.
	modulesDir = "modules"
)

// KernelMeta is meta.json of a kernel.
type KernelMeta struct {
	Format    int           `json:"format"`
	Digest    string        `json:"digest"` // of the SHA-256 of vmlinuz and of initrd
	Arch      string        `json:"arch"`
	Release   string        `json:"release"` // as uname -r says it
	Sizes     [2]int64      `json:"sizes"`   // of vmlinuz and initrd, in bytes
	Modules   []string      `json:"modules"`
	Created   time.Time     `json:"created"`
	Source    Source        `json:"source"`
	Packages  []api.Package `json:"packages"`
	Releases  []Release     `json:"releases"`
	Installed time.Time     `json:"installed"`
	Version   string        `json:"version"` // of the catalogue's entry
}

// Kernel is a kernel in use. As long as it is held, nobody deletes it.
type Kernel struct {
	Image, Initrd string // paths
	Release       string // as uname -r says it
	Digest        string

	lock *held
	once sync.Once
}

// Unhold ends the use. It may be called more than once.
func (k *Kernel) Unhold() { k.once.Do(k.lock.Unlock) }

// KernelName is the name of the catalogue's first kernel, which machines boot
// unless they were given another one.
func KernelName() string { return builtin().Kernels[0].Name }

func (c *catalog) findKernel(name string) *KernelEntry {
	for i := range c.Kernels {
		if c.Kernels[i].Name == name {
			return &c.Kernels[i]
		}
	}
	return nil
}

func (c *cache) kernels() string { return c.path("kernels", "sha256") }

func (c *cache) kernel(digest string) string {
	return filepath.Join(c.kernels(), digest[len("sha256:"):])
}

// kernelRecord is the file that says which kernel a name is.
func (c *cache) kernelRecord(name, arch string) string {
	return c.path("kernels", escapeName(name)+"@"+arch+".json")
}

func kernelKey(digest string) string { return "kernel-" + digest[len("sha256:"):] }

// readKernel returns what is installed under that name; fs.ErrNotExist if nothing is.
func (c *cache) readKernel(name, arch string) (*KernelMeta, error) {
	data, err := readSmall(c.kernelRecord(name, arch), maxRecordFile)
	if err != nil {
		return nil, err
	}
	k := &KernelMeta{}
	if err = decodeStrict(data, k); err == nil && (k.Format != formatVersion || !imageDigest.MatchString(k.Digest) || k.Arch != arch) {
		err = errors.New("it makes no sense")
	}
	if err != nil {
		return nil, fmt.Errorf("the record of %s is %w: %w", name, errDamaged, err)
	}
	return k, nil
}

// checkKernel compares the files with their sizes; whole reads them as well.
func (c *cache) checkKernel(ctx context.Context, k *KernelMeta, whole bool) error {
	dir := c.kernel(k.Digest)
	for i, name := range []string{kernelFile, initrdFile} {
		st, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if !st.Mode().IsRegular() || st.Size() != k.Sizes[i] {
			return fmt.Errorf("%s is %w: it has %d bytes and should have %d", filepath.Join(dir, name), errDamaged, st.Size(), k.Sizes[i])
		}
	}
	if !whole {
		return nil
	}
	digest, err := hashKernel(ctx, dir)
	if err == nil && digest != k.Digest {
		err = fmt.Errorf("%s is %w: its digest is %s", dir, errDamaged, digest)
	}
	return err
}

// hashKernel names a kernel by its two files.
func hashKernel(ctx context.Context, dir string) (string, error) {
	h := sha256.New()
	for _, name := range []string{kernelFile, initrdFile} {
		digest, err := hashFile(ctx, filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, digest)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// AcquireKernel returns the installed kernel of that name, for use. It never
// touches the network: one that is not installed is an error of KindNotInstalled,
// a damaged one of KindVerification. A pull helps in both cases.
func (m *Manager) AcquireKernel(ctx context.Context, name string) (*Kernel, error) {
	for {
		meta, err := m.cache.readKernel(name, m.arch)
		if err != nil {
			return nil, m.kernelNotUsable(name, err)
		}
		lock, err := m.cache.lock(ctx, kernelKey(meta.Digest), shared, nil)
		if err != nil {
			return nil, err
		}
		if err = m.cache.checkKernel(ctx, meta, false); err == nil {
			dir := m.cache.kernel(meta.Digest)
			return &Kernel{
				Image: filepath.Join(dir, kernelFile), Initrd: filepath.Join(dir, initrdFile),
				Release: meta.Release, Digest: meta.Digest, lock: lock,
			}, nil
		}
		lock.Unlock()
		// A pull may have replaced it between two steps here.
		if now, readErr := m.cache.readKernel(name, m.arch); readErr == nil && now.Digest == meta.Digest {
			return nil, m.kernelNotUsable(name, fmt.Errorf("%w: %w", errDamaged, err))
		}
	}
}

// kernelNotUsable explains why a kernel cannot be used and what helps.
func (m *Manager) kernelNotUsable(name string, err error) error {
	switch {
	case errors.Is(err, errDamaged):
		return api.Errorf(api.KindVerification, "%s: %w", name, err).WithHint("pyro env pull %s", name)
	case errors.Is(err, fs.ErrNotExist):
		return api.Errorf(api.KindNotInstalled, "the kernel of microVMs, %s, is not installed", name).WithHint("pyro env pull %s", name)
	}
	return storageError(m.cache.dir, err)
}

// pullKernel makes sure that a kernel is installed and whole.
func (m *Manager) pullKernel(ctx context.Context, e *KernelEntry, progress ProgressFunc) (env api.Environment, err error) {
	if err := e.asEntry().supports(m.arch); err != nil {
		return env, err
	}
	report := newReporter(e.Name, progress)
	report.begin(phaseInstall, "")
	defer debug.FreeOSMemory() // its modules were in memory
	err = m.alone(ctx, e.Name, report, func() error {
		if err := m.installKernel(ctx, e, report); err != nil {
			return err
		}
		meta, err := m.cache.readKernel(e.Name, m.arch)
		if err != nil {
			return storageError(m.cache.dir, err)
		}
		m.describeKernel(&env, e, meta)
		return nil
	})
	if err == nil {
		report.begin(phaseReady, "")
	}
	return env, err
}

// installKernel is pullKernel under the locks.
func (m *Manager) installKernel(ctx context.Context, e *KernelEntry, report *reporter) error {
	meta, err := m.cache.readKernel(e.Name, m.arch)
	if err == nil {
		err = m.cache.checkKernel(ctx, meta, true)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return canceled(ctx)
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errDamaged):
		return storageError(m.cache.dir, err)
	}
	if err := m.online(e.Name); err != nil {
		return err
	}
	if err := m.checkRoom(e.Name, kernelSpace); err != nil {
		return err
	}
	j, err := m.cache.newJob()
	if err != nil {
		return m.installError(ctx, e.Name, kernelSpace, err)
	}
	defer j.end()
	return m.installError(ctx, e.Name, kernelSpace, m.fetchKernel(ctx, j, e, report))
}

func (m *Manager) fetchKernel(ctx context.Context, j *job, e *KernelEntry, report *reporter) error {
	k, from, err := m.kernels.fetch(ctx, kernelRequest{entry: e, arch: m.arch, cache: m.cache, scratch: j.dir, report: report})
	if err != nil {
		return err
	}
	report.begin(phaseImage, "")
	dir := j.path("kernel")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	meta := &KernelMeta{
		Format: formatVersion, Arch: m.arch, Release: k.Release, Version: e.Version, Created: k.ModTime.UTC(),
		Source: Source{Kind: FromDebian, Location: from}, Packages: lockOf(k.Lock), Releases: releasesOf(k.Releases),
		Installed: time.Now().UTC().Truncate(time.Second),
	}
	for i, file := range []struct {
		name string
		data []byte
	}{{kernelFile, k.Image}, {initrdFile, modulesArchive(k, meta)}} {
		if err := writeSynced(filepath.Join(dir, file.name), file.data); err != nil {
			return err
		}
		meta.Sizes[i] = int64(len(file.data))
	}
	if meta.Digest, err = hashKernel(ctx, dir); err != nil {
		return err
	}
	if err := writeJSON(j.dir, filepath.Join(dir, metaFile), meta); err != nil {
		return err
	}
	return m.publishKernel(j, dir, e.Name, meta)
}

// publishKernel moves a finished kernel to its place and writes the record.
func (m *Manager) publishKernel(j *job, dir, name string, meta *KernelMeta) error {
	if err := syncDir(dir); err != nil {
		return err
	}
	to := m.cache.kernel(meta.Digest)
	err := os.Rename(dir, to)
	if errors.Is(err, fs.ErrExist) { // also says "not empty": its files are replaced one by one
		for _, file := range []string{kernelFile, initrdFile, metaFile} {
			if err := os.Rename(filepath.Join(dir, file), filepath.Join(to, file)); err != nil {
				return err
			}
		}
		err = syncDir(to)
	}
	if err == nil {
		err = syncDir(m.cache.kernels())
	}
	if err != nil {
		return err
	}
	return writeJSON(j.dir, m.cache.kernelRecord(name, m.arch), meta)
}

// modulesArchive puts the modules into an initramfs of their own.
func modulesArchive(k *debian.Kernel, meta *KernelMeta) []byte {
	var a initramfs.Archive
	a.Dir(modulesDir)
	for i, mod := range k.Modules {
		a.File(fmt.Sprintf("%s/%02d-%s.ko", modulesDir, i, mod.Name), 0o644, mod.Data)
		meta.Modules = append(meta.Modules, mod.Name)
	}
	return a.Bytes()
}

func writeSynced(path string, data []byte) error {
	_, err := writeFile(path, func(f *os.File) (int64, error) {
		n, err := f.Write(data)
		return int64(n), cmp.Or(err, f.Sync(), f.Chmod(0o444))
	})
	return err
}

// describeKernel tells of an installed kernel in the form of an environment.
func (m *Manager) describeKernel(env *api.Environment, e *KernelEntry, meta *KernelMeta) {
	*env = entryEnvironment(e.asEntry())
	if meta == nil {
		return
	}
	env.Installed, env.Source, env.Digest = true, meta.Source.String(), meta.Digest
	env.Version = cmp.Or(meta.Version, env.Version)
	env.Path = filepath.Join(m.cache.kernel(meta.Digest), kernelFile)
	env.SizeBytes, env.CreatedAt = meta.Sizes[0]+meta.Sizes[1], meta.Created
	env.Packages = meta.Packages
}

// inspectKernel is Inspect for a kernel.
func (m *Manager) inspectKernel(ctx context.Context, e *KernelEntry, verify bool) (env api.Environment, err error) {
	meta, err := m.cache.readKernel(e.Name, m.arch)
	if errors.Is(err, fs.ErrNotExist) && !verify {
		m.describeKernel(&env, e, nil)
		return env, nil
	}
	if err == nil && verify {
		err = m.cache.checkKernel(ctx, meta, true)
	}
	if err != nil {
		if ctx.Err() != nil {
			return env, canceled(ctx)
		}
		return env, m.kernelNotUsable(e.Name, err)
	}
	m.describeKernel(&env, e, meta)
	env.Verified = verify
	return env, nil
}

// listKernels describes the kernels of the catalogue that exist for this host.
func (m *Manager) listKernels() []api.Environment {
	var out []api.Environment
	for i := range builtin().Kernels {
		e := &builtin().Kernels[i]
		if e.asEntry().supports(m.arch) != nil {
			continue
		}
		var env api.Environment
		meta, _ := m.cache.readKernel(e.Name, m.arch) // a damaged one counts as not installed
		m.describeKernel(&env, e, meta)
		env.Packages = nil
		out = append(out, env)
	}
	return out
}
