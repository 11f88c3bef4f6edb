package pyro_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pyro/api"
)

// crashRounds is how many random kills a run of the tests does; PYRO_CRASH_ROUNDS
// sets it.
const crashRounds = 24

// testKills kills processes while operations run, again and again, in two
// workspaces at the same time.
func testKills(t *testing.T, h *harness) {
	rounds := crashRounds
	if n, err := strconv.Atoi(os.Getenv("PYRO_CRASH_ROUNDS")); err == nil {
		rounds = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d rounds, seed %d", rounds, seed)
	for worker := range 2 {
		t.Run(strconv.Itoa(worker), func(t *testing.T) {
			t.Parallel()
			k := &killer{stateFolder: newStateFolder(t, h), rand: rand.New(rand.NewPCG(seed, uint64(worker))), killed: map[string]int{}, done: map[string]int{}}
			t.Cleanup(k.deleteAll)
			k.recreate()
			for range rounds / 2 {
				k.round()
			}
			t.Logf("killed: %v; operations that succeeded all the same: %v", k.killed, k.done)
		})
	}
}

// killer is a workspace and what is known of it. A content is what f and /etc/f
// hold.
type killer struct {
	*stateFolder
	rand *rand.Rand
	id   string
	n    int // makes contents differ

	now       string
	snapshots map[string]string
	// past are the contents since the newest save that is known of: what a
	// sandbox that is lost may come back with.
	past  []string
	trace []string

	killed, done map[string]int
}

// deed is an operation with what may come of it.
type deed struct {
	name string
	args []string
	next string   // the content if it succeeds; "" if the workspace is gone then
	part []string // what else there may be if it is cut off
	save bool     // what it leaves is saved
	// onto is the content if it succeeds after the workspace has come back with
	// another content than it had; nil if that is next.
	onto func(content string) string
	// done notes that it was done.
	done func()
}

func (k *killer) recreate() {
	k.Helper()
	k.id = k.create("--seed-path", k.folder("f", "0\n"))
	k.now, k.past, k.snapshots = "0 none", []string{"0 none"}, map[string]string{}
}

// deed picks an operation.
func (k *killer) deed() deed {
	k.n++
	name := "s" + strconv.Itoa(k.rand.IntN(3))
	content, there := k.snapshots[name]
	switch n := k.rand.IntN(12); {
	case n < 3:
		f, etc, _ := strings.Cut(k.now, " ")
		return deed{
			name: "exec", args: []string{"exec", k.id, "--", "sh", "-c", fmt.Sprintf("echo %d >f; echo %d >/etc/f", k.n, k.n)},
			// A redirection first makes the file empty.
			next: fmt.Sprintf("%d %d", k.n, k.n), part: []string{" " + etc, fmt.Sprintf("%d %s", k.n, etc), fmt.Sprintf("%d ", k.n), f + " " + etc},
		}
	case n < 5:
		_, etc, _ := strings.Cut(k.now, " ")
		return deed{
			name: "push", args: []string{"sync", "push", k.id, k.folder("f", fmt.Sprintf("%d\n", k.n), "other", strings.Repeat("x", 1<<20))},
			next: fmt.Sprintf("%d %s", k.n, etc), onto: pushOnto(k.n),
		}
	case n < 7 && !there:
		now := k.now
		return deed{name: "snapshot", args: []string{"snapshot", "create", k.id, name}, next: k.now, done: func() { k.snapshots[name] = now }}
	case n < 7:
		return deed{name: "snapshot delete", args: []string{"snapshot", "delete", k.id, name}, next: k.now, done: func() { delete(k.snapshots, name) }}
	case n < 8:
		return deed{name: "reset", args: []string{"reset", k.id}, next: "0 none", save: true}
	case n < 9 && there:
		return deed{name: "reset to snapshot", args: []string{"reset", k.id, "--snapshot", name}, next: content, save: true}
	case n < 10:
		return deed{name: "stop", args: []string{"stop", k.id}, next: k.now, save: true}
	case n < 11:
		return deed{name: "create", args: []string{"create", smallEnvironment, "--seed-path", k.folder("f", "0\n")}, next: k.now}
	default:
		return deed{name: "delete", args: []string{"delete", k.id}}
	}
}

// pushOnto is what a push of f makes of a content.
func pushOnto(n int) func(string) string {
	return func(content string) string {
		_, etc, _ := strings.Cut(content, " ")
		return fmt.Sprintf("%d %s", n, etc)
	}
}

// round starts an operation, kills something, and looks at what has become of
// the workspace.
func (k *killer) round() {
	k.Helper()
	d := k.deed()
	target := []string{"background process", "sandbox", "gofer", "command line", "all"}[k.rand.IntN(5)]
	delay := time.Duration(k.rand.IntN(300)) * time.Millisecond
	k.trace = append(k.trace, fmt.Sprintf("%s; after %s the %s is killed", d.name, delay, target))
	ctx, stop := context.WithCancel(k.Context())
	answered := make(chan answer, 1)
	go func() { answered <- k.runContext(ctx, nil, append([]string{"workspace"}, d.args...)...) }()
	time.Sleep(delay)
	n, orphans := k.kill(target)
	if target == "command line" || target == "all" {
		stop()
		n++
	}
	a := <-answered
	stop()
	// A sandbox without its gofer is ended, but not at once.
	for end := time.Now().Add(patience); slices.ContainsFunc(orphans, alive); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			k.fatalf("of the sandboxes %v, whose gofers were killed, some are still there", orphans)
		}
	}
	if n > 0 {
		k.killed[target]++
	}
	if a.code == 0 {
		k.done[d.name]++
	}
	k.judge(d, a, n > 0 && target != "background process" && target != "command line")
}

// kill kills processes of this state folder only, by their ids, and says how
// many. It also returns the sandboxes whose gofers it has killed.
func (k *killer) kill(target string) (n int, orphans []int) {
	for _, p := range processes(k.dir) {
		what := "command line"
		switch {
		case p.args == "pyro daemon run":
			what = "background process"
		case strings.HasPrefix(p.args, "runsc-sandbox"):
			what = "sandbox"
			if target == "gofer" {
				orphans = append(orphans, p.pid)
			}
		case strings.HasPrefix(p.args, "runsc-gofer"):
			what = "gofer"
		}
		if what != "command line" && (target == "all" || what == target) && syscall.Kill(p.pid, syscall.SIGKILL) == nil {
			n++
		}
	}
	return n, orphans
}

// judge wants the workspace to be in one of the states that it may be in.
func (k *killer) judge(d deed, a answer, lost bool) {
	k.Helper()
	may := []string{d.next}
	if a.code != 0 {
		may = append(append(may, k.now), d.part...)
	}
	if a.code == 0 && d.save {
		k.past = nil
	}
	k.past = append(k.past, may...)
	if lost {
		may = append(may, k.past...)
		for _, content := range k.past {
			if d.onto != nil {
				may = append(may, d.onto(content))
			}
		}
	}
	k.assertTidy()
	if !k.sort(d, a) {
		if d.next != "" {
			k.fatalf("the workspace is gone: %s", a)
		}
		k.recreate()
		return
	}
	if d.next == "" && a.code == 0 {
		k.fatalf("the workspace is still there: %s", a)
	}
	got := k.usable()
	if !slices.Contains(may, got) {
		k.fatalf("f and /etc/f are %q, want one of %q; %s", got, may, a)
	}
	k.now = got
	k.past = append(k.past, got)
	k.learnSnapshots(d, a)
	if k.rand.IntN(3) == 0 {
		k.ok("workspace", "stop", k.id)
		k.past = []string{got}
	}
}

// sort deletes what a creation has left besides the workspace, and says whether
// that is there.
func (k *killer) sort(d deed, a answer) bool {
	k.Helper()
	here := false
	for _, w := range k.workspaces() {
		if w.WorkspaceID == k.id {
			here = true
			continue
		}
		if d.name != "create" {
			k.fatalf("there is another workspace: %+v", w)
		}
		k.assertPair(w.WorkspaceID, "0 none")
		k.ok("workspace", "delete", w.WorkspaceID)
	}
	return here
}

// usable uses the workspace, and returns what it holds.
func (k *killer) usable() string {
	k.Helper()
	// A command that was cut off may go on for a moment.
	got := k.pair(k.id)
	for again := ""; again != got; time.Sleep(10 * time.Millisecond) {
		again, got = got, k.pair(k.id)
	}
	k.ok("workspace", "sync", "push", k.id, k.folder("pushed", fmt.Sprintln(k.n)))
	k.assertDense(k.id)
	f, _, _ := strings.Cut(got, " ")
	if diff := k.ok("workspace", "diff", k.id); (f != "0") != strings.Contains(diff, "+++ b/f\n") {
		k.fatalf("f is %q, the diff\n%s", f, diff)
	}
	return got
}

// learnSnapshots compares the snapshots with what they may be.
func (k *killer) learnSnapshots(d deed, a answer) {
	k.Helper()
	before := maps.Clone(k.snapshots)
	if d.done != nil {
		d.done()
	}
	var list api.SnapshotList
	k.decode(&list, "workspace", "snapshot", "list", k.id)
	var got []string
	for _, s := range list.Snapshots[1:] {
		got = append(got, s.SnapshotName)
	}
	slices.Sort(got)
	switch {
	case slices.Equal(got, slices.Sorted(maps.Keys(k.snapshots))):
	case a.code != 0 && slices.Equal(got, slices.Sorted(maps.Keys(before))):
		k.snapshots = before
	default:
		k.fatalf("snapshots are %q, were %v", got, before)
	}
}

func (k *killer) fatalf(format string, args ...any) {
	k.Helper()
	k.Fatalf("%s\nafter:\n%s", fmt.Sprintf(format, args...), strings.Join(k.trace, "\n"))
}
