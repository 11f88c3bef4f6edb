package workspace

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/agent"
	"pyro/internal/agent/unpack/feed"
	"pyro/internal/runtime"
	"pyro/internal/sandbox"
	"pyro/internal/seed"
)

// Push puts host content into the workspace: all of it or nothing.
func (m *Manager) Push(ctx context.Context, req api.PushRequest) (api.PushResult, error) {
	begun := now()
	dest := workDir(req.Dest)
	if dest != api.WorkspacePath && !strings.HasPrefix(dest, api.WorkspacePath+"/") {
		return api.PushResult{}, api.Errorf(api.KindUsage, "destination %q is not below %s", req.Dest, api.WorkspacePath).
			WithHint("give a path relative to %s, for example --dest src", api.WorkspacePath)
	}
	in, leave, err := m.enter(req.WorkspaceID)
	if err != nil {
		return api.PushResult{}, err
	}
	defer leave()
	var res api.PushResult
	err = m.onMachine(ctx, in, func(l *life) error {
		res, err = m.pushTo(ctx, in, l, req, dest)
		return err
	})
	if err != nil {
		return api.PushResult{}, err
	}
	res.DurationMS = now().Sub(begun).Milliseconds()
	return res, nil
}

// pushTo pushes to one machine.
func (m *Manager) pushTo(ctx context.Context, in *instance, l *life, req api.PushRequest, dest string) (api.PushResult, error) {
	source, err := seed.Open(req.SourcePath)
	if err != nil {
		return api.PushResult{}, err
	}
	defer source.Close()
	res := api.PushResult{
		WorkspaceID: in.id, ExecutionMode: l.mode(), Mode: api.SeedMode(source.Mode),
		SourcePath: req.SourcePath, Destination: dest,
	}
	if err := in.lock(ctx, in.disk); err != nil {
		return res, err
	}
	defer in.disk.unlock()
	defer l.touched()
	return res, l.orCause(m.push(ctx, in, l, source, req.Strict, &res))
}

// push compares the source with what the machine holds and sends what differs.
// The caller holds in.disk, so that no save sees the half of it.
func (m *Manager) push(ctx context.Context, in *instance, l *life, source *seed.Source, strict bool, res *api.PushResult) error {
	v, err := m.present(ctx, in, l)
	if err != nil {
		return err
	}
	plan, err := source.Plan(ctx, seed.Present{Tree: v.tree, Image: v.image}, res.Destination, seed.Options{Strict: strict, Sums: in.pushSums(), SpoolDir: in.tmp()})
	v.Close()
	if err != nil {
		return err
	}
	defer plan.Close()
	r := plan.Report
	res.EntryCount, res.FileCount, res.Bytes = r.Entries, r.Files, r.Bytes
	res.Warnings, res.WarningsDropped = warnings(r.Warnings), r.Dropped
	res.SentEntries, res.SentBytes = len(plan.Changes.Entries), plan.Changes.Bytes
	if res.SentEntries == 0 && !plan.NewDest {
		return nil
	}
	if err := m.room(plan.Changes.Bytes); err != nil {
		return err
	}
	if err := m.hit("push-planned"); err != nil {
		return err
	}
	return m.send(ctx, l, plan.Changes, strings.TrimPrefix(strings.TrimPrefix(res.Destination, api.WorkspacePath), "/"))
}

// send lets the guest agent put the changes in place.
func (m *Manager) send(ctx context.Context, l *life, changes feed.Changes, dest string) error {
	ctx, cancel := sandbox.Joined(ctx, l.ctx)
	defer cancel()
	in, out := io.Pipe()
	defer in.Close()
	fed := make(chan error, 1)
	go func() {
		err := feed.Send(ctx, out, changes)
		if err == nil {
			_ = m.hit("push-sent") // it is the guest's now
		}
		out.CloseWithError(err) // the agent changes nothing unless it has seen the end
		fed <- err
	}()
	var answer bytes.Buffer
	p, err := l.machine.Start(ctx, runtime.Command{
		Argv: []string{agent.Path, "unpack", "--root", api.WorkspacePath, "--dest", dest},
		Dir:  "/", Stdin: in, Stdout: &limited{w: &answer, n: 1 << 20},
	})
	if err != nil {
		return err
	}
	exit, err := p.Wait()
	in.Close()
	feedErr := <-fed
	if err != nil {
		return err
	}
	if _, err := feed.ReadAnswer(answer.Bytes()); err != nil {
		if feedErr != nil && api.KindOf(err) == api.KindCanceled {
			return feedErr // the agent only tells that the stream ended early
		}
		return err
	}
	if exit.Code != 0 {
		return api.Errorf(api.KindInternal, "the guest agent ended with exit code %d", exit.Code)
	}
	return nil
}

// pushSums returns what earlier pushes know of the host's files.
func (in *instance) pushSums() *seed.Sums {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.sums == nil {
		in.sums = &seed.Sums{}
	}
	return in.sums
}

// learnSeed tells pushes which files of the host the seed was read from.
func (m *Manager) learnSeed(in *instance, sums *seed.Sums) {
	in.mu.Lock()
	in.sums = sums
	in.mu.Unlock()
	leave, err := in.enter()
	if err != nil {
		return
	}
	go func() {
		defer leave()
		v, err := in.view(context.Background(), state{base: in.seedPath()})
		if err != nil {
			m.log.Warn("the first push will read all files again", "workspace", in.id, "error", err)
			return
		}
		defer v.Close()
		sums.Learn(v.image, v.tree)
	}()
}

// imageOf says which image a view's unchanged files are in.
func imageOf(f *os.File) (seed.Image, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return seed.Image{}, err
	}
	return seed.Image{ID: fmt.Sprintf("%d:%d:%d:%d", st.Dev, st.Ino, st.Size, st.Mtim.Nano()), Data: f}, nil
}

// limited keeps the first n bytes and forgets the others.
type limited struct {
	w *bytes.Buffer
	n int
}

func (l *limited) Write(p []byte) (int, error) {
	l.w.Write(p[:min(len(p), max(0, l.n-l.w.Len()))])
	return len(p), nil
}
