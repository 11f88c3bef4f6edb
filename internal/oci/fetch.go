package oci

import (
	"context"
	"sync"
	"time"

	godigest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

const (
	parallelLayers = 3
	maxStalls      = 4                // connections in a row that brought nothing
	stallTimeout   = 60 * time.Second // without a byte a connection counts as dead
)

func digestOf(d Descriptor) godigest.Digest { return godigest.Digest(d.Digest) }

// fetch downloads the layers into the blob store.
func (s *registrySource) fetch(ctx context.Context, img *Image, progress func(done, total int64)) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelLayers)
	var mu sync.Mutex // guards meter
	m := &meter{total: img.Size(), report: progress}
	add := func(n int64) {
		mu.Lock()
		defer mu.Unlock()
		m.add(n, false)
	}
	seen := map[string]bool{}
	for _, l := range img.Layers {
		if seen[l.Digest] { // one layer may stand in an image twice
			add(l.Size)
			continue
		}
		seen[l.Digest] = true
		group.Go(func() error { return s.fetchLayer(ctx, l.Descriptor, add) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	progress(m.total, m.total)
	return nil
}

// fetchLayer makes sure that the store holds a layer intact.
func (s *registrySource) fetchLayer(ctx context.Context, d Descriptor, add func(int64)) error {
	have, err := haveBlob(ctx, s.blobs, d)
	if have {
		add(d.Size)
	}
	if have || err != nil {
		return err
	}
	part, err := s.blobs.Partial(ctx, d.Digest)
	if err != nil {
		return err
	}
	defer part.Close()
	// Whoever held the partial file before us may have finished it.
	if have, err := haveBlob(ctx, s.blobs, d); have || err != nil {
		if have {
			add(d.Size)
		}
		return err
	}
	dl := &download{source: s, desc: d, file: part.File(), add: add}
	if err := dl.run(ctx); err != nil {
		return err
	}
	return part.Commit()
}
