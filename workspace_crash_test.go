package pyro_test

import (
	"slices"
	"strings"
	"testing"

	"pyro/api"
)

// moment is a step of an operation in which the background process dies.
type moment struct {
	step string     // a fail point of internal/workspace
	ops  [][]string // the commands that reach it; $ID, $SRC are put in
	// may is what f and /etc/f of the workspace may be afterwards ("2 2"), and
	// "gone" if it may be gone.
	may []string
	// late: with a full disk in this step the operation does its work all the same.
	late bool
}

var (
	opCreate   = []string{"workspace", "create", smallEnvironment, "--seed-path", "$SRC"}
	opStart    = []string{"workspace", "start", "$ID"}
	opStop     = []string{"workspace", "stop", "$ID"}
	opPush     = []string{"workspace", "sync", "push", "$ID", "$SRC"}
	opSnapshot = []string{"workspace", "snapshot", "create", "$ID", "s2"}
	opForget   = []string{"workspace", "snapshot", "delete", "$ID", "s1"}
	opReset    = []string{"workspace", "reset", "$ID", "--snapshot", "s1"}
	opMove     = []string{"workspace", "reset", "$ID", "--snapshot", "s1", "--runtime", "vm"}
	opDelete   = []string{"workspace", "delete", "$ID"}
)

var moments = []moment{
	{step: "create-recorded", ops: [][]string{opCreate}, may: []string{"2 2"}},
	{step: "create-seeded", ops: [][]string{opCreate}, may: []string{"2 2"}},
	{step: "boot", ops: [][]string{opCreate}, may: []string{"2 2"}},
	{step: "booted", ops: [][]string{opCreate}, may: []string{"2 2"}},
	{step: "create-committed", ops: [][]string{opCreate}, may: []string{"2 2"}},
	{step: "booted", ops: [][]string{opStart}, may: []string{"2 2"}},
	{step: "push-planned", ops: [][]string{opPush}, may: []string{"2 2"}},
	{step: "push-sent", ops: [][]string{opPush}, may: []string{"2 2", "pushed 2"}, late: true},
	{step: "save", ops: [][]string{opSnapshot}, may: []string{"2 2"}},
	{step: "save-written", ops: [][]string{opSnapshot}, may: []string{"2 2"}},
	{step: "save-renamed", ops: [][]string{opSnapshot}, may: []string{"2 2"}},
	{step: "snapshot-recorded", ops: [][]string{opSnapshot}, may: []string{"2 2"}},
	{step: "snapshot-forgotten", ops: [][]string{opForget}, may: []string{"2 2"}},
	{step: "save", ops: [][]string{opStart, opStop}, may: []string{"2 2"}},
	{step: "save-recorded", ops: [][]string{opStart, opStop}, may: []string{"2 2"}},
	{step: "stop-saved", ops: [][]string{opStart, opStop}, may: []string{"2 2"}},
	{step: "stop-recorded", ops: [][]string{opStart, opStop}, may: []string{"2 2"}, late: true},
	{step: "boot", ops: [][]string{opReset}, may: []string{"2 2"}},
	{step: "booted", ops: [][]string{opReset}, may: []string{"2 2"}},
	{step: "reset-committed", ops: [][]string{opReset}, may: []string{"1 1"}, late: true},
	{step: "adapt", ops: [][]string{opMove}, may: []string{"2 2"}},
	{step: "adapt-written", ops: [][]string{opMove}, may: []string{"2 2"}},
	{step: "boot", ops: [][]string{opMove}, may: []string{"2 2"}},
	{step: "booted", ops: [][]string{opMove}, may: []string{"2 2"}},
	{step: "save-renamed", ops: [][]string{opMove}, may: []string{"2 2"}},
	{step: "reset-committed", ops: [][]string{opMove}, may: []string{"1 1"}, late: true},
	{step: "delete-recorded", ops: [][]string{opStart, opDelete}, may: []string{"gone"}, late: true},
	{step: "delete", ops: [][]string{opStart, opDelete}, may: []string{"gone"}},
	{step: "delete-machine", ops: [][]string{opStart, opDelete}, may: []string{"gone"}},
	{step: "delete-folder", ops: [][]string{opStart, opDelete}, may: []string{"gone"}},
}

// TestWorkspaceFaults is what workspaces go through.
func TestWorkspaceFaults(t *testing.T) {
	h := newHarness(t)
	if !h.runtimes()["gvisor"] {
		t.Skip("needs a host on which gVisor works: pyro doctor")
	}
	if err := h.install(smallEnvironment); err != nil {
		t.Fatal(err)
	}
	before := cgroups(t)
	t.Cleanup(func() { checkShared(t, h, before) })
	t.Run("moments", func(t *testing.T) { testMoments(t, h) })
	t.Run("kills", func(t *testing.T) { testKills(t, h) })
	t.Run("disk", func(t *testing.T) { testFullDisks(t, h) })
	t.Run("parallel", func(t *testing.T) { testParallelUse(t, h) })
}

// prepareMoments makes a stopped workspace: 0 in the seed, 1 in the snapshot s1,
// 2 now.
func prepareMoments(t *testing.T, h *harness) (s *stateFolder, id string) {
	s = newStateFolder(t, h)
	t.Cleanup(s.deleteAll)
	id = s.create("--seed-path", s.folder("f", "0\n"))
	s.sh(id, "echo 1 >f; echo 1 >/etc/f")
	s.ok("workspace", "snapshot", "create", id, "s1")
	s.sh(id, "echo 2 >f; echo 2 >/etc/f")
	s.ok("workspace", "stop", id)
	s.ok("daemon", "stop")
	return s, id
}

// testMoments lets every durable step of every operation first fail as on a full
// disk, then be the last one of the background process.
func testMoments(t *testing.T, h *harness) {
	prepared, id := prepareMoments(t, h)
	t.Run("all", func(t *testing.T) { // so that the copies end before the original
		for _, m := range moments {
			t.Run(m.name(), func(t *testing.T) {
				if m.moves() && !h.runtimes()["vm"] {
					t.Skip("microVMs do not run here; they need QEMU, and the kernel of the catalogue")
				}
				t.Parallel()
				s := prepared.copied(t)
				t.Cleanup(s.deleteAll)
				m.fill(s, id)
				m.kill(s, id)
			})
		}
	})
}

// last is the command that reaches the step.
func (m moment) last() []string { return m.ops[len(m.ops)-1] }

// moves says that the workspace changes its runtime.
func (m moment) moves() bool { return slices.Contains(m.last(), "--runtime") }

func (m moment) name() string {
	name := m.last()[1]
	if m.moves() {
		name = "move"
	}
	return name + " " + m.step
}

// run runs the commands with what the step shall do, until one fails, or as long
// as that takes.
func (m moment) run(s *stateFolder, id, action string) answer {
	src := s.folder("f", "pushed\n")
	var a answer
	for _, op := range m.ops {
		args := strings.Split(strings.NewReplacer("$ID", id, "$SRC", src).Replace(strings.Join(op, "\x00")), "\x00")
		if a = s.run([]string{"PYRO_FAILPOINTS=workspace-" + m.step + "=" + action}, append(args, "--json")...); a.code != 0 {
			break
		}
	}
	return a
}

// fill wants a full disk to change nothing, and the error to say so.
func (m moment) fill(s *stateFolder, id string) {
	s.Helper()
	if slices.Contains(m.may, "gone") || m.late {
		return // it is as with kill then, but for the error
	}
	a := m.run(s, id, "enospc")
	if kind, hint := a.kind(); a.code != api.ExitFailure || kind != api.KindStorage || hint == "" {
		s.Errorf("disk full: %s", a)
	}
	s.ok("daemon", "stop") // the next one has no fail points
	s.assertTidy()
	m.check(s, id)
	s.ok("workspace", "stop", id)
	if m.step == "snapshot-recorded" {
		s.run(nil, "workspace", "snapshot", "delete", id, "s2")
	}
	s.ok("daemon", "stop")
}

// kill wants the death of the background process to leave the old or the new
// state, and the workspace to be as good as any.
func (m moment) kill(s *stateFolder, id string) {
	s.Helper()
	if m.step == "snapshot-forgotten" && s.run(nil, "workspace", "snapshot", "create", id, "s1").code == 0 {
		s.ok("workspace", "stop", id)
	}
	s.ok("daemon", "stop")
	a := m.run(s, id, "kill")
	if a.code != api.ExitFailure || !strings.Contains(a.stdout+a.stderr, "background process") {
		s.Errorf("the background process did not die: %s", a)
	}
	s.assertTidy()
	if !m.check(s, id) {
		return
	}
	s.ok("workspace", "diff", id)
	s.sh(id, "echo 3 >f; echo 3 >/etc/f")
	s.ok("workspace", "snapshot", "create", id, "probe")
	s.ok("workspace", "reset", id)
	s.assertPair(id, "0 none")
	if d := s.ok("workspace", "diff", id); d != "" {
		s.Errorf("diff after a reset:\n%s", d)
	}
	s.ok("workspace", "reset", id, "--snapshot", "probe")
	s.assertPair(id, "3 3")
	if m.step != "snapshot-forgotten" {
		s.ok("workspace", "reset", id, "--snapshot", "s1")
		s.assertPair(id, "1 1")
	}
	s.assertTidy()
}

// check wants the workspace, and others that a creation may have left, to be as
// they may; it says whether the workspace is there.
func (m moment) check(s *stateFolder, id string) bool {
	s.Helper()
	here := false
	for _, w := range s.workspaces() {
		if w.WorkspaceID != id {
			s.assertPair(w.WorkspaceID, "pushed none")
			s.ok("workspace", "delete", w.WorkspaceID)
			continue
		}
		here = true
		if got := s.pair(id); !slices.Contains(m.may, got) {
			s.Errorf("f and /etc/f are %q, want one of %q", got, m.may)
		}
		s.assertDense(id)
	}
	if !here && !slices.Contains(m.may, "gone") {
		s.Fatalf("the workspace is gone")
	}
	return here
}

// pair is what the workspace holds in f and /etc/f.
func (s *stateFolder) pair(id string) string {
	s.Helper()
	return strings.TrimSuffix(strings.ReplaceAll(s.sh(id, "cat f; cat /etc/f 2>/dev/null || echo none"), "\n", " "), " ")
}

func (s *stateFolder) assertPair(id, want string) {
	s.Helper()
	if got := s.pair(id); got != want {
		s.Errorf("f and /etc/f are %q, want %q", got, want)
	}
}
