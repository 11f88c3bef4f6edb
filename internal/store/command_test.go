package store

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

const workspace = "ws-000000000001"

// sampleCommand has another value in every field.
func sampleCommand(sequence int) Command {
	return Command{
		Workspace: workspace, Sequence: sequence, Argv: []string{"sh", "", "-c", "\xff\x80 '\"<>&\u2028\x00\n日本"}, Cwd: "/workspace/\xe4\xf6",
		State: api.CommandExited, ExitCode: 124, StartedAt: start.Add(time.Duration(sequence) * time.Second), DurationMS: 3,
		StdoutBytes: 1 << 40, StderrBytes: 5, Limit: `{"kind":"timeout"}`,
	}
}

func insertCommands(t testing.TB, s *Store, commands ...Command) {
	t.Helper()
	for _, c := range commands {
		if err := s.InsertCommand(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}

func commands(t testing.TB, s *Store, from, count int) []Command {
	t.Helper()
	got, err := s.Commands(t.Context(), workspace, from, count)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestCommandRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := open(t, path)
	insertWorkspace(t, s, sampleWorkspace(workspace))
	insertWorkspace(t, s, sampleWorkspace("ws-000000000002"))
	c := []Command{sampleCommand(1), sampleCommand(2), sampleCommand(10), sampleCommand(11)}
	for field, value := range reflect.ValueOf(c[0]).Fields() {
		if value.IsZero() {
			t.Fatalf("the sample says nothing about %s", field.Name)
		}
	}
	insertCommands(t, s, c[3], c[1], c[0], c[2])
	other := sampleCommand(1)
	other.Workspace = "ws-000000000002"
	insertCommands(t, s, other)
	if err := s.InsertCommand(t.Context(), c[0]); err == nil {
		t.Error("two commands have one sequence")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	for _, tc := range []struct {
		from, count int
		want        []Command
	}{
		{0, 0, c}, {1, 0, c}, {2, 0, c[1:]}, {3, 0, c[2:]}, {12, 0, nil}, {1, 1, c[:1]}, {2, 2, c[1:3]}, {11, 5, c[3:]},
	} {
		if d := cmp.Diff(tc.want, commands(t, s, tc.from, tc.count)); d != "" {
			t.Errorf("%d commands from %d: %s", tc.count, tc.from, d)
		}
	}
	got, err := s.CommandBySequence(t.Context(), workspace, 10)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c[2], got); d != "" {
		t.Error(d)
	}
	if _, err := s.CommandBySequence(t.Context(), workspace, 3); api.KindOf(err) != api.KindNotFound || api.AsError(err).Hint == "" {
		t.Errorf("no such command: %v", err)
	}
}

func TestUpdateCommand(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	insertWorkspace(t, s, sampleWorkspace(workspace))
	done := sampleCommand(1)
	running := Command{Workspace: workspace, Sequence: 1, Argv: done.Argv, Cwd: done.Cwd, State: api.CommandRunning, StartedAt: done.StartedAt}
	next := running
	next.Sequence = 2
	insertCommands(t, s, running, next)
	if err := s.UpdateCommand(t.Context(), done); err != nil {
		t.Fatal(err)
	}
	want := []Command{done, next}
	if d := cmp.Diff(want, commands(t, s, 1, 0)); d != "" {
		t.Error(d)
	}
	// One of before a reset: the same sequence, another start.
	old := done
	old.StartedAt, old.ExitCode = old.StartedAt.Add(-time.Millisecond), 1
	for _, c := range []Command{old, sampleCommand(3)} {
		if err := s.UpdateCommand(t.Context(), c); api.KindOf(err) != api.KindNotFound {
			t.Errorf("update of command %d: %v", c.Sequence, err)
		}
	}
	if d := cmp.Diff(want, commands(t, s, 1, 0)); d != "" {
		t.Error(d)
	}
}

func TestLostCommands(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	var want []Command
	for _, id := range []string{workspace, "ws-000000000002"} {
		insertWorkspace(t, s, sampleWorkspace(id))
		for i, state := range []api.CommandState{api.CommandRunning, api.CommandExited, api.CommandLost, api.CommandRunning} {
			c := sampleCommand(i + 1)
			c.Workspace, c.State, c.Limit = id, state, "old"
			insertCommands(t, s, c)
			if id == workspace && state == api.CommandRunning {
				c.State, c.Limit = api.CommandLost, "new"
			}
			want = append(want, c)
		}
	}
	if err := s.LostCommands(t.Context(), workspace, "new"); err != nil {
		t.Fatal(err)
	}
	got := commands(t, s, 1, 0)
	others, err := s.Commands(t.Context(), "ws-000000000002", 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, append(got, others...)); d != "" {
		t.Error(d)
	}
}

// A row that pyro did not write is an error that names the file, not a panic.
func TestDamagedArgv(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	insertWorkspace(t, s, sampleWorkspace(workspace))
	insertCommands(t, s, sampleCommand(1))
	if _, err := s.db.Exec(`UPDATE commands SET argv = '["not base64!"]'`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commands(t.Context(), workspace, 1, 0); api.KindOf(err) != api.KindInternal {
		t.Errorf("got %v", err)
	}
}

func BenchmarkCommand(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "db"))
	insertWorkspace(b, s, sampleWorkspace(workspace))
	for i := 1; b.Loop(); i++ {
		c := sampleCommand(i)
		insertCommands(b, s, c)
		if err := s.UpdateCommand(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}
