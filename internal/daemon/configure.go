package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	goruntime "runtime"
	"sync"

	"pyro/api"
	"pyro/internal/environment"
	"pyro/internal/runtime"
)

// The limits of a machine in which packages are configured: generous, for it
// runs the scripts of a distribution, and still limits.
const (
	configureMemory = 2 << 30 // bytes
	configureDisk   = 8 << 30 // bytes
	configurePIDs   = 4096
)

// configurer lets the environment manager run a command in a machine of the
// driver. A machine that a killed process leaves behind has no record, and is
// removed by the next one.
func configurer(driver runtime.Driver) environment.ConfigureFunc {
	return func(ctx context.Context, r environment.ConfigureRequest) (io.ReadCloser, error) {
		var b [6]byte
		rand.Read(b[:])
		id := "build-" + hex.EncodeToString(b[:])
		m, err := driver.Create(ctx, runtime.Spec{
			ID: id, Image: r.Image, VCPUs: goruntime.NumCPU(), MemoryBytes: configureMemory, DiskBytes: configureDisk, PIDs: configurePIDs,
		})
		if err != nil {
			return nil, err
		}
		discard := func() error {
			m.Close()
			return driver.Remove(context.WithoutCancel(ctx), id)
		}
		upper, err := configure(ctx, m, r, discard)
		if err != nil {
			_ = discard() // what stays has no record and is removed by the next process
			return nil, err
		}
		return upper, nil
	}
}

// configure runs the command and starts the export of what it changed.
func configure(ctx context.Context, m runtime.Machine, r environment.ConfigureRequest, discard func() error) (io.ReadCloser, error) {
	exporter, ok := m.(runtime.LayerExporter)
	if !ok {
		return nil, api.Errorf(api.KindUnsupported, "this runtime cannot build environments")
	}
	log := &sharedWriter{w: r.Log}
	p, err := m.Start(ctx, runtime.Command{Argv: r.Argv, Env: r.Env, Dir: "/", Stdout: log, Stderr: log})
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.Kill() }) // Wait tells how it ended
	exit, err := p.Wait()
	stop()
	if hit := m.LimitHit(context.WithoutCancel(ctx)); hit != nil && (err != nil || exit.Code != 0) {
		return nil, hit
	}
	switch {
	case ctx.Err() != nil:
		return nil, api.Errorf(api.KindCanceled, "configuring packages: %w", context.Cause(ctx))
	case err != nil:
		return nil, err
	case exit.Code != 0:
		return nil, api.Errorf(api.KindInternal, "command %q ended with exit code %d", r.Argv[0], exit.Code)
	}
	read, write := io.Pipe()
	l := &layer{PipeReader: read, discard: discard, exported: make(chan struct{})}
	go func() {
		defer close(l.exported)
		write.CloseWithError(exporter.ExportLayer(ctx, write))
	}()
	return l, nil
}

// layer is an upper layer on its way out of a machine, which its Close removes.
type layer struct {
	*io.PipeReader
	discard  func() error
	exported chan struct{}
}

func (l *layer) Close() error {
	l.PipeReader.Close() // ends an export that nobody reads to its end
	<-l.exported
	return l.discard()
}

// sharedWriter lets stdout and stderr write to one log. Either may be nil.
type sharedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *sharedWriter) Write(p []byte) (int, error) {
	if s.w == nil {
		return len(p), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}
