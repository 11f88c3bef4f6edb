package pyro_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"pyro/api"
)

// The tests of what workspaces survive are written in Go, not as scripts: they
// are tables of moments, and models of what may have become of a workspace.

// smallEnvironment is what they run in.
const smallEnvironment = "debian:12-base"

// stateFolder is a state folder of its own with the program that uses it.
type stateFolder struct {
	*testing.T
	h   *harness
	dir string   // what belongs to the test is below it; the state folder is dir/s
	env []string // of the program
}

// newStateFolder makes one. When the test has ended nothing may be left of it;
// what is a workspace's the test deletes itself.
func newStateFolder(t *testing.T, h *harness) *stateFolder {
	t.Helper()
	dir, err := h.scriptDir()
	if err != nil {
		t.Fatal(err)
	}
	s := &stateFolder{T: t, h: h, dir: dir, env: h.env(dir)}
	t.Cleanup(func() { h.finish(t, dir, s.env) })
	return s
}

// copied is a new one that begins as a copy of this one, which nothing uses.
func (s *stateFolder) copied(t *testing.T) *stateFolder {
	t.Helper()
	c := newStateFolder(t, s.h)
	if out, err := exec.Command("cp", "-a", filepath.Join(s.dir, "s"), c.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return c
}

// answer is how a run of the program ended.
type answer struct {
	code           int
	stdout, stderr string
}

// run runs the program, with variables in addition.
func (s *stateFolder) run(variables []string, args ...string) answer {
	return s.runContext(context.Background(), variables, args...)
}

// runContext is run that is killed when ctx ends; its exit code is -1 then.
func (s *stateFolder) runContext(ctx context.Context, variables []string, args ...string) answer {
	cmd := exec.CommandContext(ctx, filepath.Join(s.h.dir, "bin", "pyro"), args...)
	cmd.Env = slices.Concat(s.env, variables)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran && ctx.Err() == nil {
		s.Errorf("pyro %q: %v", args, err)
	}
	return answer{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// ok runs the program, which must succeed, and returns its stdout.
func (s *stateFolder) ok(args ...string) string {
	s.Helper()
	a := s.run(nil, args...)
	if a.code != 0 {
		s.Fatalf("pyro %q: exit code %d\n%s%s", args, a.code, a.stdout, a.stderr)
	}
	return a.stdout
}

// decode runs the program with --json behind the first words and reads its answer.
func (s *stateFolder) decode(res any, args ...string) {
	s.Helper()
	out := s.ok(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), res); err != nil {
		s.Fatalf("pyro %q: %v\n%s", args, err, out)
	}
}

// folder makes a folder of files on the host ("name", "content"...).
func (s *stateFolder) folder(files ...string) string {
	s.Helper()
	dir := s.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o644); err != nil {
			s.Fatal(err)
		}
	}
	return dir
}

// create makes a workspace and returns its id.
func (s *stateFolder) create(args ...string) string {
	s.Helper()
	var w api.Workspace
	s.decode(&w, append([]string{"workspace", "create", smallEnvironment}, args...)...)
	return w.WorkspaceID
}

func (s *stateFolder) workspaces() []api.Workspace {
	s.Helper()
	var list api.WorkspaceList
	s.decode(&list, "workspace", "list")
	return list.Workspaces
}

func (s *stateFolder) status(id string) api.Workspace {
	s.Helper()
	var w api.Workspace
	s.decode(&w, "workspace", "status", id)
	return w
}

// sh runs a shell command in the workspace, which must succeed.
func (s *stateFolder) sh(id, script string) string {
	s.Helper()
	return s.ok("workspace", "exec", id, "--", "sh", "-c", script)
}

func (s *stateFolder) deleteAll() {
	s.Helper()
	for _, w := range s.workspaces() {
		s.ok("workspace", "delete", w.WorkspaceID)
	}
}

// assertDense wants a command log with the sequences 1, 2, 3...
func (s *stateFolder) assertDense(id string) []api.Command {
	s.Helper()
	var log api.CommandLog
	s.decode(&log, "workspace", "logs", id, "--max-bytes", "200")
	for i, c := range log.Commands {
		if c.Sequence != i+1 {
			s.Fatalf("command %d of the log has the sequence %d", i+1, c.Sequence)
		}
	}
	if log.Count != len(log.Commands) {
		s.Errorf("the log has %d commands and counts %d", len(log.Commands), log.Count)
	}
	return log.Commands
}

// assertTidy wants everything in the state folder, and every process, to belong
// to a record. What is being removed may take a moment.
func (s *stateFolder) assertTidy() {
	s.Helper()
	s.workspaces() // a new background process tidies up before it answers
	var found []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if found = s.untidy(); len(found) == 0 {
			return
		}
	}
	for _, f := range found {
		s.Errorf("nothing refers to: %s", f)
	}
}

// untidy lists what no record names.
func (s *stateFolder) untidy() []string {
	ids, machines, disks := s.records()
	state := filepath.Join(s.dir, "s")
	found := extra(filepath.Join(state, "workspaces"), ids)
	for _, id := range ids {
		dir := filepath.Join(state, "workspaces", id)
		found = slices.Concat(found, extra(filepath.Join(dir, "tmp"), nil), extra(filepath.Join(dir, "disks"), disks))
	}
	found = append(found, extra(filepath.Join(state, "gvisor", "machines"), machines)...)
	for _, p := range processes(s.dir) {
		if p.args == "pyro daemon run" {
			continue
		}
		if !slices.ContainsFunc(machines, func(m string) bool { return strings.Contains(p.args, m) }) {
			found = append(found, p.String())
		}
	}
	return found
}

// extra lists what is in a folder beyond the names.
func extra(dir string, names []string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return []string{err.Error()}
	}
	var found []string
	for _, e := range entries {
		if !slices.Contains(names, e.Name()) {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	return found
}

// records reads the database: workspaces, their machines, and all saved disks.
func (s *stateFolder) records() (ids, machines, disks []string) {
	s.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "s", "pyro.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		s.Fatal(err)
	}
	defer db.Close()
	column := func(query string) []string {
		rows, err := db.QueryContext(context.Background(), query) // also used when the test has ended
		if err != nil {
			s.Fatal(err)
		}
		defer rows.Close()
		var list []string
		for rows.Next() {
			var v string
			if err := rows.Scan(&v); err != nil {
				s.Fatal(err)
			}
			list = append(list, v)
		}
		if err := rows.Err(); err != nil {
			s.Fatal(err)
		}
		return list
	}
	return column("SELECT id FROM workspaces"), column("SELECT machine FROM workspaces WHERE machine <> ''"),
		column("SELECT disk FROM workspaces UNION SELECT disk FROM snapshots")
}

// kind is that of the error of a run with --json that failed, with its hint.
func (a answer) kind() (api.Kind, string) {
	var doc struct{ Error api.Error }
	if json.Unmarshal([]byte(a.stdout), &doc) == nil && doc.Error.Kind != "" {
		return doc.Error.Kind, doc.Error.Hint
	}
	return "", ""
}

func (a answer) String() string {
	return fmt.Sprintf("exit code %d\n%s%s", a.code, a.stdout, a.stderr)
}

// decodeAnswer reads the result of a run with --json.
func decodeAnswer(a answer, res any) error { return json.Unmarshal([]byte(a.stdout), res) }
