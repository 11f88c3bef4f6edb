package seed

import (
	"cmp"
	"context"
	"os"

	"pyro/internal/tree"
)

// Plan is what a push has to do: a copy of every entry that differs from what the
// guest holds. Close gives the copies back to the host's disk.
type Plan struct {
	// Report is about the whole source, as [Source.Read] would report it.
	Report Report
	// Changes are what is to be sent.
	Changes *Changes
	// NewDest says that nothing stands at the destination. It is to be made even
	// if there are no changes, as for an empty folder.
	NewDest bool

	spool *tree.Tree
}

// Close frees the data. The changes cannot be written after it.
func (p *Plan) Close() error { return p.spool.Close() }

// Plan compares the source with what the guest holds at dest, an absolute path
// of the guest, and copies what differs: type, permission bits, target of a
// link, content. A time alone is no difference, as it is none for git, and
// whether two names are hard links of each other is none either. What the guest
// has besides does not matter. present is not used any more when Plan returns.
//
// A file that o.Sums remembers and that has the same size and times is not
// opened. Whatever is copied is read with the care of [Source.Read] and stays as
// it was read, so that what is written later is what was compared. A source is
// read once. Errors are those of Read; KindStorage also if the guest's data
// cannot be read, unless that error brings a kind of its own.
func (s *Source) Plan(ctx context.Context, present Present, dest string, o Options) (*Plan, error) {
	spool, err := tree.New(cmp.Or(o.SpoolDir, os.TempDir()))
	if err != nil {
		return nil, err
	}
	p, err := s.plan(ctx, present, dest, o, spool)
	if err != nil {
		spool.Close()
		return nil, err
	}
	return p, nil
}

func (s *Source) plan(ctx context.Context, present Present, dest string, o Options, spool *tree.Tree) (*Plan, error) {
	if o.Sums == nil {
		o.Sums = &Sums{}
	}
	st, err := newStage(present.Tree, spool, dest, o)
	if err != nil {
		return nil, err
	}
	st.guest = &guest{image: present.Image, known: o.Sums.about(present.Image)}
	st.guest.base, _ = present.Tree.Lookup(st.base) // nil if absent
	err = s.fill(ctx, st, o)
	st.learn()
	if err != nil {
		return nil, err
	}
	return &Plan{Report: st.report(s.Mode), Changes: st.changes(), NewDest: st.guest.base == nil, spool: spool}, nil
}

// learn keeps the sums that the plan computed, also if it came to nothing.
func (st *stage) learn() {
	host := make(map[fileID]content, len(st.read))
	for _, r := range st.read {
		if r.sum != nil {
			host[r.id] = content{stamp: r.stamp, at: -1, sum: *r.sum}
		}
	}
	data := map[extent]Sum{}
	for e, s := range st.guest.found.Range {
		data[e.(extent)] = s.(Sum)
	}
	st.sums.add(st.guest.image, host, data, st.met)
}

// compareAll gives every name of an archive its status.
func (st *stage) compareAll(ctx context.Context) error {
	names := map[*inode][]int{} // hard-linked ones are of one goroutine
	for i, s := range st.names {
		names[s.node] = append(names[s.node], i)
	}
	nodes := make([]*inode, 0, len(names))
	for in := range names {
		nodes = append(nodes, in)
	}
	return parallel(len(nodes), func(i int, h *hasher) error {
		for _, k := range names[nodes[i]] {
			s := &st.names[k]
			var err error
			if s.status, err = st.guest.status(ctx, s.node, st.guest.at(s.path), h); err != nil {
				return err
			}
		}
		return nil
	})
}
