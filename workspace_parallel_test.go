package pyro_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pyro/api"
	"pyro/client"
)

// testParallelUse has one workspace used by ten callers of the Go client and
// the command line at the same time.
func testParallelUse(t *testing.T, h *harness) {
	s := newStateFolder(t, h)
	t.Cleanup(s.deleteAll)
	c, err := client.New(client.Options{Executable: filepath.Join(h.dir, "bin", "pyro"), Env: s.env})
	if err != nil {
		t.Fatal(err)
	}
	p := &parallelUse{stateFolder: s, client: c, id: s.create("--seed-path", s.folder("f", "0\n")), sequences: map[int]string{}}
	t.Run("commands", func(t *testing.T) { p.T = t; p.commands(160, 40) })
	t.Run("resets", func(t *testing.T) { p.T = t; p.resets() })
	p.T, s.T = t, t
	s.assertTidy()
}

type parallelUse struct {
	*stateFolder
	client *client.Client
	id     string
	T      *testing.T

	mu        sync.Mutex
	sequences map[int]string // of commands that succeeded; guarded by mu
}

// exec runs a command that says its name, and returns its sequence.
func (p *parallelUse) exec(ctx context.Context, name string) (int, error) {
	res, err := client.Do(ctx, p.client, api.ExecWorkspace, api.ExecWorkspaceRequest{
		WorkspaceID: p.id, Command: []string{"sh", "-c", "echo " + name + "; echo " + name + " >>list"}, TimeoutSeconds: 60,
	})
	if err == nil && (res.ExitCode != 0 || res.Stdout != name+"\n") {
		p.T.Errorf("command %s: %+v", name, res)
	}
	return res.Sequence, err
}

func (p *parallelUse) note(sequence int, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if other, twice := p.sequences[sequence]; twice {
		p.T.Errorf("the sequence %d was given to %s and %s", sequence, other, name)
	}
	p.sequences[sequence] = name
}

// others are the calls that go on beside the commands until stop ends; each must
// succeed, or fail with one of the kinds.
func (p *parallelUse) others(ctx context.Context, wg *sync.WaitGroup, kinds ...api.Kind) {
	var made atomic.Int64
	loop := func(what string, f func(n int) error) {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if err := f(n); err != nil && !allowed(err, kinds) {
					p.T.Errorf("%s: %v", what, err)
					return
				}
				made.Add(1)
			}
		})
	}
	background := context.Background()
	loop("snapshot", func(n int) error {
		req := api.SnapshotRequest{WorkspaceID: p.id, SnapshotName: fmt.Sprint("p", n)}
		if _, err := client.Do(background, p.client, api.CreateSnapshot, req); err != nil {
			return err
		}
		_, err := client.Do(background, p.client, api.DeleteSnapshot, req)
		return err
	})
	loop("diff", func(int) error {
		_, err := client.Do(background, p.client, api.DiffWorkspace, api.DiffRequest{WorkspaceID: p.id})
		return err
	})
	source := p.folder("pushed", "content\n")
	loop("push", func(n int) error {
		if err := os.WriteFile(filepath.Join(source, "pushed"), fmt.Appendln(nil, n), 0o644); err != nil {
			return err
		}
		_, err := client.Do(background, p.client, api.PushWorkspaceSync, api.PushRequest{WorkspaceID: p.id, SourcePath: source})
		return err
	})
	out := p.T.TempDir()
	loop("export", func(n int) error {
		_, err := client.Do(background, p.client, api.ExportWorkspace, api.ExportRequest{WorkspaceID: p.id, Path: ".", OutputPath: filepath.Join(out, fmt.Sprint(n))})
		return err
	})
	loop("logs and status", func(int) error {
		if _, err := client.Do(background, p.client, api.LogsWorkspace, api.LogsWorkspaceRequest{WorkspaceID: p.id, MaxBytes: 10}); err != nil {
			return err
		}
		_, err := client.Do(background, p.client, api.StatusWorkspace, api.WorkspaceRequest{WorkspaceID: p.id})
		return err
	})
	p.T.Cleanup(func() { p.T.Logf("%d other calls", made.Load()) })
}

func allowed(err error, kinds []api.Kind) bool {
	for _, k := range kinds {
		if api.KindOf(err) == k {
			return true
		}
	}
	return false
}

// commands runs commands from eight goroutines and two programs beside
// everything else: none is lost, and each has a sequence of its own.
func (p *parallelUse) commands(byClient, byProgram int) {
	ctx, stop := context.WithCancel(p.T.Context())
	var others, callers sync.WaitGroup
	p.others(ctx, &others)
	for caller := range 8 {
		callers.Go(func() {
			for n := range byClient / 8 {
				name := fmt.Sprintf("c%d.%d", caller, n)
				sequence, err := p.exec(p.T.Context(), name)
				if err != nil {
					p.T.Errorf("command %s: %v", name, err)
					return
				}
				p.note(sequence, name)
			}
		})
	}
	for caller := range 2 {
		callers.Go(func() {
			for n := range byProgram / 2 {
				name := fmt.Sprintf("p%d.%d", caller, n)
				var res api.ExecResult
				a := p.run(nil, "workspace", "exec", p.id, "--json", "--", "sh", "-c", "echo "+name+" >>list; echo "+name)
				if err := decodeAnswer(a, &res); err != nil || a.code != 0 {
					p.T.Errorf("command %s: %v, %s", name, err, a)
					return
				}
				p.note(res.Sequence, name)
			}
		})
	}
	callers.Wait()
	stop()
	others.Wait()
	log := p.assertDense(p.id)
	if len(log) != byClient+byProgram {
		p.T.Errorf("the log has %d commands, %d succeeded", len(log), byClient+byProgram)
	}
	for _, c := range log {
		if name := p.sequences[c.Sequence]; c.Stdout != name+"\n" || c.State != api.CommandExited {
			p.T.Errorf("command %d of the log wrote %q and is %s, %s has its sequence", c.Sequence, c.Stdout, c.State, name)
		}
	}
	if lines := strings.Count(p.sh(p.id, "cat list"), "\n"); lines != byClient+byProgram {
		p.T.Errorf("%d of %d commands have left their line", lines, byClient+byProgram)
	}
}

// resets does all that while the workspace is reset again and again.
func (p *parallelUse) resets() {
	p.ok("workspace", "reset", p.id)
	p.ok("workspace", "snapshot", "create", p.id, "s1")
	ctx, stop := context.WithCancel(p.T.Context())
	var wg sync.WaitGroup
	p.others(ctx, &wg, api.KindReset)
	var cut, done atomic.Int64
	for caller := range 5 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				_, err := p.exec(context.Background(), fmt.Sprintf("r%d.%d", caller, n))
				switch {
				case err == nil:
					done.Add(1)
				case api.KindOf(err) == api.KindReset:
					cut.Add(1)
				default:
					p.T.Errorf("command: %v", err)
					return
				}
			}
		})
	}
	const resets = 12
	for n := range resets {
		to := []string{api.Baseline, "s1"}[n%2]
		res, err := client.Do(p.T.Context(), p.client, api.ResetWorkspace, api.ResetRequest{WorkspaceID: p.id, Snapshot: to})
		if err != nil || res.ResetCount != n+2 {
			p.T.Errorf("reset %d: %+v, %v", n, res, err)
		}
	}
	stop()
	wg.Wait()
	p.T.Logf("%d commands succeeded, %d were cut off by resets", done.Load(), cut.Load())
	if cut.Load() == 0 || done.Load() == 0 {
		p.T.Error("that tests nothing")
	}
	for _, c := range p.assertDense(p.id) {
		if c.State != api.CommandExited {
			p.T.Errorf("command %d is %s although nothing runs", c.Sequence, c.State)
		}
	}
	p.ok("workspace", "reset", p.id)
	if d := p.ok("workspace", "diff", p.id); d != "" {
		p.T.Errorf("diff after a reset:\n%s", d)
	}
}
