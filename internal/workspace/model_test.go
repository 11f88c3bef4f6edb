package workspace

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// contents are the files of a machine by absolute path.
type contents map[string]string

// modelState is what a workspace must be like.
type modelState struct {
	exists    bool
	files     contents
	snapshots map[string]contents
	resets    int
	driver    string
}

func (s modelState) clone() modelState {
	s.files, s.snapshots = maps.Clone(s.files), maps.Clone(s.snapshots)
	return s
}

// model runs one workspace through operations, failures and crashes, and knows
// what may have become of it.
type model struct {
	t    *testing.T
	w    *world
	rand *rand.Rand
	id   string
	now  modelState
	// saved are the files that a machine which is lost may come back with: those
	// of every moment since the newest save that is known of.
	saved   []contents
	version int // makes contents differ
	trace   []string
}

var modelSeed = contents{"/workspace/a": "seed a\n", "/workspace/sub/d": "seed d\n"}

var modelPaths = []string{"/workspace/a", "/workspace/b", "/workspace/c", "/workspace/sub/d", "/etc/x"}

// steps are the names of all fail points of the package.
func steps(t *testing.T) []string {
	t.Helper()
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range sources {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`m\.hit\("([a-z-]+)"\)`).FindAllSubmatch(text, -1) {
			found = append(found, string(m[1]))
		}
	}
	if len(found) < 20 {
		t.Fatalf("only %d fail points were found: %q", len(found), found)
	}
	return sorted(found)
}

// operation is one call with what it makes of the state if it succeeds.
type operation struct {
	name string
	do   func() error
	next modelState
	// saves says that the workspace is saved when the call has succeeded.
	saves bool
}

func (m *model) pick(n int) int { return m.rand.IntN(n) }

func (m *model) operation() operation {
	if !m.now.exists {
		return m.opCreate()
	}
	switch m.pick(12) {
	case 0, 1, 2:
		return m.opWrite()
	case 3:
		return m.opPush()
	case 4, 5:
		return m.opSnapshot()
	case 6:
		return m.opDeleteSnapshot()
	case 7, 8:
		return m.opReset()
	case 9:
		return operation{name: "stop", next: m.now, saves: true, do: func() error { _, err := m.w.Stop(m.t.Context(), m.id); return err }}
	case 10:
		return operation{name: "start", next: m.now, do: func() error { _, err := m.w.Start(m.t.Context(), m.id); return err }}
	default:
		if m.pick(3) > 0 {
			return m.opWrite()
		}
		return operation{name: "delete", do: func() error { _, err := m.w.Delete(m.t.Context(), m.id); return err }}
	}
}

func (m *model) opCreate() operation {
	return operation{
		name: "create", saves: true,
		next: modelState{exists: true, driver: "fake", files: maps.Clone(modelSeed), snapshots: map[string]contents{}},
		do: func() error {
			req := request()
			req.SeedPath = m.w.folder("seed", "a", modelSeed["/workspace/a"], "sub/d", modelSeed["/workspace/sub/d"])
			_, err := m.w.Create(m.t.Context(), req, func(api.Progress) {})
			return err
		},
	}
}

func (m *model) opWrite() operation {
	m.version++
	path, content := modelPaths[m.pick(len(modelPaths))], strconv.Itoa(m.version)+"\n"
	argv := []string{"write", path, content}
	next := m.now.clone()
	next.files[path] = content
	if m.pick(4) == 0 {
		argv = []string{"rm", path}
		delete(next.files, path)
	}
	return operation{name: fmt.Sprint(argv), next: next, do: func() error {
		res, _, err := m.w.tryExec(m.id, argv...)
		if err == nil && res.ExitCode != 0 {
			return fmt.Errorf("exit code %d, limit %+v", res.ExitCode, *cmp.Or(res.Limit, &api.Error{}))
		}
		return err
	}}
}

func (m *model) opPush() operation {
	m.version++
	next := m.now.clone()
	var files []string
	for _, name := range []string{"b", "c", "sub/d"}[m.pick(3):] {
		content := fmt.Sprintf("pushed %d\n", m.version)
		files = append(files, name, content)
		next.files[api.WorkspacePath+"/"+name] = content
	}
	return operation{name: fmt.Sprint("push ", files), next: next, do: func() error {
		_, err := m.w.tryPush(m.id, m.w.folder("src", files...))
		return err
	}}
}

func (m *model) snapshotName() string { return "s" + strconv.Itoa(m.pick(3)) }

func (m *model) opSnapshot() operation {
	name := m.snapshotName()
	next := m.now.clone()
	_, there := next.snapshots[name]
	if !there {
		next.snapshots[name] = maps.Clone(m.now.files)
	}
	return operation{name: "snapshot " + name, next: next, do: func() error {
		_, err := m.w.CreateSnapshot(m.t.Context(), api.SnapshotRequest{WorkspaceID: m.id, SnapshotName: name})
		if there {
			return m.expected(err, api.KindConflict)
		}
		return err
	}}
}

func (m *model) opDeleteSnapshot() operation {
	name := m.snapshotName()
	next := m.now.clone()
	_, there := next.snapshots[name]
	delete(next.snapshots, name)
	return operation{name: "delete snapshot " + name, next: next, do: func() error {
		_, err := m.w.DeleteSnapshot(m.t.Context(), api.SnapshotRequest{WorkspaceID: m.id, SnapshotName: name})
		if !there {
			return m.expected(err, api.KindNotFound)
		}
		return err
	}}
}

func (m *model) opReset() operation {
	name, to, there := api.Baseline, modelSeed, true
	if m.pick(3) > 0 {
		name = m.snapshotName()
		to, there = m.now.snapshots[name]
	}
	next := m.now.clone()
	runtime := []string{"", "auto", "fake", "other", "other"}[m.pick(5)]
	if there {
		next.files = maps.Clone(to)
		next.resets++
		if runtime != "" && runtime != "auto" {
			next.driver = runtime
		}
	}
	return operation{name: "reset " + name + " " + runtime, next: next, saves: there, do: func() error {
		_, err := m.w.Reset(m.t.Context(), api.ResetRequest{WorkspaceID: m.id, Snapshot: name, Runtime: api.Runtime(runtime)})
		if !there {
			return m.expected(err, api.KindNotFound)
		}
		return err
	}}
}

// expected makes a success of the error that must come.
func (m *model) expected(err error, kind api.Kind) error {
	if api.KindOf(err) == kind {
		return nil
	}
	if err == nil {
		m.fatalf("no error, want kind %s", kind)
	}
	return err
}

func (m *model) fatalf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\nafter:\n%q", fmt.Sprintf(format, args...), m.trace)
}

// step does one operation, undisturbed or with a failure or crash in it, and
// checks what has become of the workspace.
func (m *model) step() {
	op := m.operation()
	points := steps(m.t)
	point, nth := points[m.pick(len(points))], 1+m.pick(2)
	disturbance := m.pick(10)
	switch disturbance {
	case 0, 1, 2:
		m.trace = append(m.trace, fmt.Sprintf("%s, crash at %s:%d", op.name, point, nth))
		m.w.crashAt(point, nth)
	case 3:
		m.trace = append(m.trace, fmt.Sprintf("%s, no space at %s", op.name, point))
		m.w.failAt(point)
	case 4:
		fault := []string{"create", "created", "save", "start", "open", "remove"}[m.pick(6)]
		m.trace = append(m.trace, fmt.Sprintf("%s, driver fails to %s", op.name, fault))
		m.w.driver.setFault(func(op, _ string) error {
			if op == fault {
				return storageError("driver", unix.ENOSPC)
			}
			return nil
		})
	default:
		m.trace = append(m.trace, op.name)
	}
	done := make(chan error, 1)
	go func() { done <- op.do() }()
	var err error
	select {
	case err = <-done:
	case <-time.After(time.Hour):
		if !m.w.driver.gone.Load() {
			m.fatalf("%s does not come back", op.name)
		}
		err = errGone
	}
	if err != nil && disturbance >= 5 {
		m.fatalf("%s: %v", op.name, err)
	}
	if m.pick(2) == 0 {
		settle() // a crash may come in the background too
	}
	m.end(op, err, disturbance < 5)
}

// end brings the disturbance to its end, and checks.
func (m *model) end(op operation, err error, disturbed bool) {
	synctest.Wait()
	gone := m.w.driver.gone.Load()
	candidates := []modelState{op.next}
	if err != nil {
		candidates = append(candidates, m.now)
	}
	if op.saves && err == nil && !gone {
		m.saved = nil
	}
	for _, c := range candidates {
		m.saved = append(m.saved, c.files)
	}
	if !gone {
		m.w.at(undisturbed)
		m.w.driver.setFault(nil)
		if disturbed || m.pick(4) == 0 {
			synctestSleep(2 * deleteRetry) // what failed is tried again
		}
	}
	dies := m.pick(8) == 0
	if dies {
		m.trace = append(m.trace, "sandbox dies")
		for _, id := range m.w.host.ids() {
			m.w.host.get(id).die(api.Errorf(api.KindSandboxDied, "killed by the test"))
		}
		synctest.Wait()
		var lost []modelState
		for _, c := range candidates {
			for _, files := range m.saved {
				c.files = files
				lost = append(lost, c)
			}
		}
		candidates = append(candidates, lost...)
	}
	if gone || m.pick(10) == 0 {
		m.trace = append(m.trace, "new process")
		m.w = m.w.crash()
	}
	m.w.assertTidy()
	m.now = m.match(candidates)
	if dies || err != nil {
		m.saved = append(m.saved, m.now.files)
	}
	if m.pick(3) == 0 && m.now.exists {
		settle()
		m.saved = []contents{m.now.files}
		if s := m.w.status(m.id); s.SaveError != nil {
			m.fatalf("save error: %v", s.SaveError)
		}
	}
	if m.t.Failed() {
		m.fatalf("untidy")
	}
}

func undisturbed(string) error { return nil }

// match finds out which of the states the workspace is in.
func (m *model) match(candidates []modelState) modelState {
	list, err := m.w.List(m.t.Context(), api.ListWorkspacesRequest{})
	if err != nil {
		m.fatalf("%v", err)
	}
	if len(list.Workspaces) == 0 {
		if i := slices.IndexFunc(candidates, func(s modelState) bool { return !s.exists }); i >= 0 {
			return candidates[i]
		}
		m.fatalf("the workspace is gone")
	}
	m.id = list.Workspaces[0].WorkspaceID
	got := m.observe(list.Workspaces[0])
	for _, c := range candidates {
		if c.exists && c.resets == got.resets && c.driver == got.driver && maps.Equal(c.files, got.files) &&
			slices.Equal(slices.Sorted(maps.Keys(c.snapshots)), slices.Sorted(maps.Keys(got.snapshots))) {
			return c.clone()
		}
	}
	m.fatalf("the workspace is %+v\nwant one of %+v", got, candidates)
	return modelState{}
}

// observe uses the workspace in every way that does not change it.
func (m *model) observe(ws api.Workspace) modelState {
	got := modelState{exists: true, files: contents{}, snapshots: map[string]contents{}, resets: ws.ResetCount, driver: "fake"}
	if ws.ExecutionMode == m.w.other.mode {
		got.driver = m.w.other.name
	}
	for _, path := range modelPaths {
		res, content, err := m.w.tryExec(m.id, "read", path)
		if err != nil || res.Limit != nil {
			m.fatalf("reading %s: %v, %+v", path, err, res)
		}
		if res.ExitCode == 0 {
			got.files[path] = content
		}
	}
	snapshots, err := m.w.ListSnapshots(m.t.Context(), m.id)
	if err != nil {
		m.fatalf("%v", err)
	}
	for _, s := range snapshots.Snapshots[1:] {
		got.snapshots[s.SnapshotName] = nil
	}
	diff, err := m.w.Diff(m.t.Context(), api.DiffRequest{WorkspaceID: m.id, From: api.Baseline})
	if err != nil {
		m.fatalf("%v", err)
	}
	changed := 0
	for _, path := range modelPaths[:4] {
		if got.files[path] != modelSeed[path] {
			changed++
		}
	}
	if diff.Summary.Total < changed || diff.Changed != (changed > 0) {
		m.fatalf("%d files have changed, the diff is %+v", changed, diff)
	}
	m.w.assertDense(m.id)
	return got
}

// runModel does so many random steps.
func runModel(t *testing.T, seed uint64, n int) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{t: t, w: newBubble(t), rand: rand.New(rand.NewPCG(seed, 1))}
		for range n {
			m.step()
		}
	})
}

// FuzzRandomOperations is TestRandomOperations without end.
func FuzzRandomOperations(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { runModel(t, seed, 25) })
}

// TestRandomOperations compares workspaces with the model through operations,
// failures and crashes in random order. A seed that fails fails again.
func TestRandomOperations(t *testing.T) {
	seeds := 20
	if n, err := strconv.Atoi(os.Getenv("PYRO_MODEL_SEEDS")); err == nil {
		seeds = n
	}
	for seed := range seeds {
		t.Run(strconv.Itoa(seed), func(t *testing.T) { t.Parallel(); runModel(t, uint64(seed), 25) })
	}
}
