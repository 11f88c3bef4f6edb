package debian

import (
	"archive/tar"
	"context"
	"io"
	"runtime"
	"slices"
	"strings"

	"pyro/api"
	"pyro/internal/tree"
)

// aheadBudget is how much decompressed data may wait in memory for its turn.
const aheadBudget = 128 << 20

// unpacked is a package whose files are in the tree.
type unpacked struct {
	pkg     *Package
	control map[string]controlFile
	list    []string // its paths as dpkg lists them, in the order of the package
}

// unpacker puts packages into a tree.
type unpacker struct {
	tree   *tree.Tree
	store  store
	skip   func(path string) bool // files to leave out, may be nil
	owners owners
	ready  func(ctx context.Context, p *Package) error // waits for the download of p
	done   func(p *Package)                            // called when p is in the tree
}

// run unpacks the packages, which are in the order of applyOrder, and returns
// them sorted by name. The .debs are verified and decompressed on all processors
// and applied one by one.
func (u *unpacker) run(ctx context.Context, order []*Package) ([]*unpacked, error) {
	out := make([]*unpacked, len(order))
	ahead := readAhead{
		workers: runtime.GOMAXPROCS(0),
		budget:  aheadBudget,
		produce: func(ctx context.Context, i int, w io.Writer) (err error) {
			out[i], err = u.decode(ctx, order[i], w)
			return err
		},
		consume: func(i int, r io.Reader) error {
			defer u.done(order[i])
			return u.apply(order[i], r, &out[i])
		},
	}
	if err := ahead.run(ctx, len(order)); err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b *unpacked) int { return strings.Compare(a.pkg.infoName(), b.pkg.infoName()) })
	return out, nil
}

// decode writes the data archive of p to w.
func (u *unpacker) decode(ctx context.Context, p *Package, w io.Writer) (*unpacked, error) {
	if err := u.ready(ctx, p); err != nil {
		return nil, err
	}
	var control map[string]controlFile
	err := u.store.readDeb(ctx, p, func(d *deb, data io.Reader) error {
		control = d.control
		// The buffer makes whole chunks; io.Copy alone would use a smaller one.
		_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{data}, make([]byte, aheadChunk))
		return err
	})
	if err != nil {
		return nil, err
	}
	return &unpacked{pkg: p, control: control}, nil
}

// readDeb opens a downloaded package, checks that it is p, and gives read its
// parts and its files as a tar. An error of read means that those are malformed.
func (s store) readDeb(ctx context.Context, p *Package, read func(d *deb, data io.Reader) error) error {
	f, err := s.open(ctx, p.remote())
	if err != nil {
		return err
	}
	defer f.Close()
	d, err := openDeb(f, p.Size)
	if err == nil {
		err = d.checkControl(p)
	}
	if err != nil {
		return malformed(p, err)
	}
	data, err := d.openData()
	if err != nil {
		return malformed(p, err)
	}
	defer data.Close()
	err = read(d, data)
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return malformed(p, err)
	}
	return nil
}

func malformed(p *Package, err error) error {
	return api.Errorf(api.KindUnsafe, "package %s is malformed: %w", p, err).
		WithHint("leave the package out, or report it to Debian")
}

// apply puts the tar in r into the tree. *out is there once r is at its end.
func (u *unpacker) apply(p *Package, r io.Reader, out **unpacked) error {
	var list []string
	var refused error
	skip := false
	err := u.tree.ApplyTar(r, tree.ApplyOptions{
		Name: "package " + p.String(),
		Visit: func(path string, h *tar.Header) {
			if path == "/" {
				list = append(list, "/.")
			} else {
				list = append(list, path)
			}
			skip = u.skip != nil && u.skip(path)
			if h.Typeflag != tar.TypeDir && !skip && refused == nil {
				skip, refused = u.place(p, path, h)
			}
		},
		Skip: func(string) bool { return skip || refused != nil },
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // the checksum of the compression is behind the tar
		return err
	}
	(*out).list = list
	return nil
}

// place decides about an entry of p that is no folder: whether to leave it out.
func (u *unpacker) place(p *Package, path string, h *tar.Header) (skip bool, err error) {
	if n, err := u.tree.Lookup(path); err == nil && n.Type == tree.Dir {
		if h.Typeflag == tar.TypeSymlink { // as in dpkg the folder stays
			return true, nil
		}
		return false, api.Errorf(api.KindUnsafe, "package %s has a file %s where a folder is", p, path).
			WithHint("leave the package out")
	}
	return false, u.owners.claim(p, path)
}

// applyOrder is the order in which packages are fetched and applied: the largest
// first, so that all processors come to their end together, but a package after
// those whose files it Replaces.
func applyOrder(pkgs []*Package) ([]*Package, error) {
	sorted := slices.Clone(pkgs)
	slices.SortStableFunc(sorted, func(a, b *Package) int {
		if a.Size != b.Size {
			return int(b.Size - a.Size)
		}
		return strings.Compare(a.Name, b.Name)
	})
	byName := map[string]*Package{}
	for _, p := range sorted {
		byName[p.Name] = p
	}
	seen := map[*Package]bool{}
	order := make([]*Package, 0, len(sorted))
	var visit func(p *Package) error
	visit = func(p *Package) error {
		if seen[p] {
			return nil
		}
		seen[p] = true
		replaces, err := p.relations(p.replaces)
		if err != nil {
			return err
		}
		for _, alts := range replaces {
			if q := byName[alts[0].Name]; q != nil && q != p {
				if err := visit(q); err != nil {
					return err
				}
			}
		}
		order = append(order, p)
		return nil
	}
	for _, p := range sorted {
		if err := visit(p); err != nil {
			return nil, err
		}
	}
	return order, nil
}
