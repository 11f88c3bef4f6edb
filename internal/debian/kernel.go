package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"pyro/api"
)

// Bounds of a kernel package. Debian's largest kernel for clouds has 15 MB, all
// of its modules 90 MB.
const (
	maxKernelImage   = 64 << 20
	maxKernelModules = 512 << 20
	maxModules       = 10_000
)

// Kernel is the kernel of a package linux-image-*.
type Kernel struct {
	Release string // as uname -r says it
	Image   []byte // vmlinuz, as the boot loader takes it
	// Modules are those that were asked for and what they need, in an order in
	// which they can be loaded. What the kernel has built in is not among them.
	Modules  []KernelModule
	Lock     []LockedPackage // the package
	Releases []Release       // of the suites, in their order
	ModTime  time.Time       // the newest Date of the suites
}

// KernelModule is a module, unpacked.
type KernelModule struct {
	Name string // with underscores, as lsmod says it
	Data []byte // ELF
}

// FetchKernel fetches the kernel that the meta package o.Packages[0] depends on,
// with the named modules. Of the options it uses what Resolve does.
func FetchKernel(ctx context.Context, o Options, modules []string) (*Kernel, error) {
	b, err := newBuild(o)
	if err != nil {
		return nil, err
	}
	if err := b.loadIndex(ctx); err != nil {
		return nil, err
	}
	p, err := b.index.kernel(o.Packages[0])
	if err != nil {
		return nil, err
	}
	count := counter{total: p.Size, tell: func(done, total int64) { b.Progress(PhaseDownload, done, total) }}
	if err := b.store.ensure(ctx, p.remote(), func(delta int64) { count.add(delta, 0) }); err != nil {
		return nil, err
	}
	b.Progress(PhaseUnpack, 0, 1)
	k, err := b.readKernel(ctx, p, modules)
	if err != nil {
		return nil, err
	}
	b.Progress(PhaseUnpack, 1, 1)
	b.pkgs = []*Package{p}
	k.Lock, k.Releases, k.ModTime = b.lock(), b.releases(), b.mtime
	return k, nil
}

// kernel returns the package with the kernel that a meta package stands for.
func (x *Index) kernel(meta string) (*Package, error) {
	versions := x.byName[meta]
	if len(versions) == 0 {
		return nil, api.Errorf(api.KindNotFound, "the archive has no package %q", clip(meta)).
			WithHint("check that the suites belong together")
	}
	depends, err := versions[0].relations(versions[0].depends)
	if err != nil {
		return nil, err
	}
	for _, alts := range depends {
		for _, rel := range alts {
			if !strings.HasPrefix(rel.Name, "linux-image-") {
				continue
			}
			for _, p := range x.byName[rel.Name] {
				if rel.admits(p.Version) {
					return p, nil
				}
			}
		}
	}
	return nil, api.Errorf(api.KindNotFound, "package %s depends on no kernel that the archive has", versions[0]).
		WithHint("the mirror is being updated, or incomplete: try again later, or another one (%s)", MirrorEnv)
}

func (b *build) readKernel(ctx context.Context, p *Package, modules []string) (k *Kernel, err error) {
	err = b.store.readDeb(ctx, p, func(_ *deb, data io.Reader) error {
		k, err = readKernelTar(ctx, data, modules)
		return err
	})
	if err != nil {
		return nil, err
	}
	return k, nil
}

// readKernelTar takes the kernel and its modules out of the data of a package.
func readKernelTar(ctx context.Context, r io.Reader, modules []string) (*Kernel, error) {
	k := &Kernel{}
	found := moduleSet{}
	left := int64(maxKernelModules)
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		switch name := path.Base(h.Name); {
		case strings.HasPrefix(name, "vmlinuz-") && k.Image == nil:
			if h.Size > maxKernelImage {
				return nil, fmt.Errorf("its kernel has %d bytes", h.Size)
			}
			k.Release = strings.TrimPrefix(name, "vmlinuz-")
			if k.Image, err = io.ReadAll(tr); err != nil {
				return nil, err
			}
		case isModule(name):
			if left -= h.Size; left < 0 || len(found) == maxModules {
				return nil, errors.New("its modules are larger than any kernel's")
			}
			data, err := io.ReadAll(tr)
			if err != nil {
				return nil, err
			}
			found[moduleName(name)] = packedModule{path.Ext(name), data}
		}
	}
	if k.Image == nil || !validRelease(k.Release) {
		return nil, errors.New("it has no kernel")
	}
	var err error
	k.Modules, err = found.order(modules)
	return k, err
}

func isModule(name string) bool {
	return strings.HasSuffix(name, ".ko") || strings.HasSuffix(name, ".ko.xz")
}

// moduleName turns a file's name into that of the module: the kernel takes
// hyphens and underscores for the same.
func moduleName(file string) string {
	name, _, _ := strings.Cut(file, ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// validRelease keeps what uname -r may say to what can be shown anywhere.
func validRelease(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._+~-", r)
	})
}

// packedModule is a module as the package has it.
type packedModule struct {
	suffix string // ".ko" or ".xz"
	data   []byte
}

type moduleSet map[string]packedModule

// order unpacks the wanted modules and what they need, needed ones first. One
// that is not there counts as built in: the guest's first start tells if not.
func (s moduleSet) order(want []string) ([]KernelModule, error) {
	var out []KernelModule
	seen := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		name = strings.ReplaceAll(name, "-", "_")
		packed, ok := s[name]
		if seen[name] || !ok {
			return nil
		}
		seen[name] = true
		data, err := packed.unpack()
		if err != nil {
			return fmt.Errorf("its module %s: %w", clip(name), err)
		}
		needs, err := moduleDepends(data)
		if err != nil {
			return fmt.Errorf("its module %s: %w", clip(name), err)
		}
		for _, n := range needs {
			if err := visit(n); err != nil {
				return err
			}
		}
		out = append(out, KernelModule{name, data})
		return nil
	}
	for _, name := range want {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (m packedModule) unpack() ([]byte, error) {
	if m.suffix == ".ko" {
		return m.data, nil
	}
	r, err := decompress(bytes.NewReader(m.data), m.suffix, maxKernelImage)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// moduleDepends reads what a module needs from its section .modinfo: strings of
// the form KEY=VALUE, each ended by a zero byte, of which one is
// "depends=NAME,NAME". See include/linux/module.h of the kernel.
func moduleDepends(data []byte) (names []string, err error) {
	defer func() { // package elf does not promise to survive damaged files
		if p := recover(); p != nil {
			err = fmt.Errorf("it is no module: %v", p)
		}
	}()
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	info := f.Section(".modinfo")
	if info == nil || info.Size > 1<<20 {
		return nil, errors.New("it has no section .modinfo")
	}
	text, err := info.Data()
	if err != nil {
		return nil, err
	}
	for entry := range strings.SplitSeq(string(text), "\x00") {
		if list, ok := strings.CutPrefix(entry, "depends="); ok && list != "" {
			names = append(names, strings.Split(list, ",")...)
		}
	}
	return names, nil
}
