package store

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

var start = time.UnixMilli(1_700_000_000_123).UTC()

// sampleWorkspace has another value in every field, so that two columns that
// are mixed up are seen.
func sampleWorkspace(id string) Workspace {
	return Workspace{
		ID: id, Name: "name-of-" + id, Labels: `{"a":"b"}`, Environment: "debian:12", ImageDigest: "sha256:ab", Driver: "gvisor", State: WorkspaceStarted, Machine: "machine-1", Generation: 1,
		VCPUCount: 2, MemMiB: 3, DiskMiB: 4, PIDLimit: 5, TTLSeconds: 6, Network: true, Kernel: "/boot/own", NetworkPolicy: `{"version":1}`,
		SeedMode: "directory", SeedPath: "/home/\xffuser/\xe4 'seed'", SeedEntries: 7, SeedBytes: 1 << 40,
		Disk: "disk-1", DiskSource: "autosave", SavedAt: start.Add(time.Second), Commands: 8, ResetCount: 9,
		LastResetAt: start.Add(2 * time.Second), LastActivityAt: start.Add(3 * time.Second), CreatedAt: start, ExpiresAt: start.Add(time.Hour),
		Recovery: `{"reason":"gone"}`,
	}
}

func insertWorkspace(t testing.TB, s *Store, w Workspace) {
	t.Helper()
	if err := s.InsertWorkspace(t.Context(), w); err != nil {
		t.Fatal(err)
	}
}

func workspaces(t testing.TB, s *Store) []Workspace {
	t.Helper()
	got, err := s.Workspaces(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestWorkspaceRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := open(t, path)
	first, second := sampleWorkspace("ws-000000000001"), Workspace{ID: "ws-000000000002", CreatedAt: start.Add(time.Millisecond)}
	for field, value := range reflect.ValueOf(first).Fields() {
		if value.IsZero() {
			t.Fatalf("the sample says nothing about %s", field.Name)
		}
	}
	insertWorkspace(t, s, second)
	insertWorkspace(t, s, first)
	if d := cmp.Diff([]Workspace{first, second}, workspaces(t, s)); d != "" {
		t.Error(d)
	}

	// Full to empty and back: an update writes every column, zero times as well.
	first, second = Workspace{ID: first.ID, CreatedAt: first.CreatedAt}, sampleWorkspace(second.ID)
	second.CreatedAt = start.Add(time.Millisecond)
	for durable, w := range map[bool]Workspace{true: first, false: second} {
		if err := s.UpdateWorkspace(t.Context(), w, durable); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	if d := cmp.Diff([]Workspace{first, second}, workspaces(t, s)); d != "" {
		t.Error(d)
	}
}

func TestWorkspaceMissing(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	w := sampleWorkspace("ws-000000000001")
	if err := s.UpdateWorkspace(t.Context(), w, true); api.KindOf(err) != api.KindInternal || !strings.Contains(err.Error(), w.ID) {
		t.Errorf("update: %v", err)
	}
	if err := s.ResetWorkspace(t.Context(), w); api.KindOf(err) != api.KindInternal || !strings.Contains(err.Error(), w.ID) {
		t.Errorf("reset: %v", err)
	}
	if err := s.DeleteWorkspace(t.Context(), w.ID); err != nil {
		t.Errorf("delete: %v", err)
	}
	if err := s.InsertSnapshot(t.Context(), Snapshot{Workspace: w.ID, Name: "a"}); api.KindOf(err) != api.KindNotFound || api.AsError(err).Hint == "" {
		t.Errorf("snapshot of no workspace: %v", err)
	}
	if err := s.InsertCommand(t.Context(), Command{Workspace: w.ID, Sequence: 1}); api.KindOf(err) != api.KindNotFound || !strings.Contains(err.Error(), w.ID) {
		t.Errorf("command of no workspace: %v", err)
	}
	insertWorkspace(t, s, w)
	if err := s.InsertWorkspace(t.Context(), w); err == nil {
		t.Error("two workspaces have one id")
	}
}

// fill gives a workspace two snapshots and three commands.
func fill(t *testing.T, s *Store, workspace string) {
	t.Helper()
	for i := range 2 {
		if err := s.InsertSnapshot(t.Context(), Snapshot{Workspace: workspace, Name: fmt.Sprint("n", i)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		if err := s.InsertCommand(t.Context(), Command{Workspace: workspace, Sequence: i + 1, State: api.CommandRunning}); err != nil {
			t.Fatal(err)
		}
	}
}

// counts returns how many rows the tables of workspaces have for one.
func counts(t *testing.T, s *Store, workspace string) [3]int {
	t.Helper()
	var n [3]int
	for i, query := range []string{
		`SELECT count(*) FROM workspaces WHERE id = ?`, `SELECT count(*) FROM snapshots WHERE workspace = ?`, `SELECT count(*) FROM commands WHERE workspace = ?`,
	} {
		if err := s.db.QueryRow(query, workspace).Scan(&n[i]); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func TestResetAndDelete(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	one, other := sampleWorkspace("ws-000000000001"), sampleWorkspace("ws-000000000002")
	for _, w := range []Workspace{one, other} {
		insertWorkspace(t, s, w)
		fill(t, s, w.ID)
	}
	one.Commands, one.ResetCount = 0, 10
	if err := s.ResetWorkspace(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if got := workspaces(t, s)[0]; got != one {
		t.Errorf("after reset: %+v", got)
	}
	if got := counts(t, s, one.ID); got != [3]int{1, 2, 0} {
		t.Errorf("reset left %v rows", got)
	}
	for range 2 {
		if err := s.DeleteWorkspace(t.Context(), one.ID); err != nil {
			t.Fatal(err)
		}
	}
	if got := counts(t, s, one.ID); got != [3]int{} {
		t.Errorf("delete left %v rows", got)
	}
	if got := counts(t, s, other.ID); got != [3]int{1, 2, 3} {
		t.Errorf("the other workspace has %v rows", got)
	}
}

// A reset that fails at its second step leaves the row and the commands alone.
func TestResetIsWhole(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	w := sampleWorkspace("ws-000000000001")
	insertWorkspace(t, s, w)
	fill(t, s, w.ID)
	if _, err := s.db.Exec(`CREATE TRIGGER refuse BEFORE DELETE ON commands WHEN OLD.sequence = 2 BEGIN SELECT raise(ABORT, 'refused'); END`); err != nil {
		t.Fatal(err)
	}
	changed := w
	changed.Commands, changed.Machine = 0, "machine-2"
	if err := s.ResetWorkspace(t.Context(), changed); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Fatalf("reset: %v", err)
	}
	if d := cmp.Diff([]Workspace{w}, workspaces(t, s)); d != "" {
		t.Error(d)
	}
	if got := counts(t, s, w.ID); got != [3]int{1, 2, 3} {
		t.Errorf("left %v rows", got)
	}
	if err := s.DeleteWorkspace(t.Context(), w.ID); err == nil {
		t.Error("deleted")
	}
	if got := counts(t, s, w.ID); got != [3]int{1, 2, 3} {
		t.Errorf("the delete that failed left %v rows", got)
	}
}

func TestSnapshots(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	for _, id := range []string{"ws-000000000001", "ws-000000000002"} {
		insertWorkspace(t, s, sampleWorkspace(id))
	}
	older := Snapshot{Workspace: "ws-000000000001", Name: "b", Disk: "disk-1", CreatedAt: start, SizeBytes: 1 << 40}
	newer := Snapshot{Workspace: "ws-000000000001", Name: "a", Disk: "disk-2", CreatedAt: start.Add(time.Millisecond), SizeBytes: 1}
	other := Snapshot{Workspace: "ws-000000000002", Name: "a", Disk: "disk-3", CreatedAt: start}
	for _, n := range []Snapshot{newer, older, other} {
		if err := s.InsertSnapshot(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	again := older
	again.Disk = "disk-4"
	err := s.InsertSnapshot(t.Context(), again)
	if api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), `"b"`) || !strings.Contains(err.Error(), older.Workspace) || api.AsError(err).Hint == "" {
		t.Errorf("a name used twice: %v", err)
	}
	check := func(workspace string, want ...Snapshot) {
		t.Helper()
		got, err := s.Snapshots(t.Context(), workspace)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	check(older.Workspace, older, newer)
	for range 2 {
		if err := s.DeleteSnapshot(t.Context(), newer.Workspace, newer.Name); err != nil {
			t.Fatal(err)
		}
	}
	check(older.Workspace, older)
	check(other.Workspace, other)
}
