package process

import (
	"bufio"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// groupKinds makes groups of both kinds; the host's hierarchy stands for the
// guest's.
var groupKinds = map[string]func(*testing.T) *Groups{
	"cgroup": cgroups,
	"proc":   func(*testing.T) *Groups { return &Groups{} },
}

func cgroups(t *testing.T) *Groups {
	t.Helper()
	root := hierarchy(t)
	dir, err := os.MkdirTemp(root, "pyro-test-")
	if err != nil {
		t.Skipf("needs a cgroup v2 hierarchy where root may write: %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	g, err := OpenGroups(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.parent.Close() })
	return g
}

// hierarchy returns where cgroup v2 is mounted, from /proc/mounts.
func hierarchy(t *testing.T) string {
	t.Helper()
	f, err := os.Open("/proc/mounts")
	if err != nil {
		t.Skipf("needs /proc: %v", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 2 && fields[2] == "cgroup2" {
			return fields[1]
		}
	}
	t.Skip("needs a mounted cgroup v2 hierarchy")
	return ""
}

func newGroup(t *testing.T, groups *Groups) *Group {
	t.Helper()
	g, err := groups.New("one")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.End(0, nil); err != nil {
			t.Error(err)
		}
	})
	return g
}

func alive(pid int) bool {
	p, err := read(pid)
	return err == nil && !p.Zombie
}

func TestEndGently(t *testing.T) {
	for kind, groups := range groupKinds {
		t.Run(kind, func(t *testing.T) {
			g := newGroup(t, groups(t))
			p, out := begin(t, g, `trap 'echo bye; exit 5' TERM; sh -c 'echo ready; exec sleep 1000' & wait`)
			line(t, out)
			if members, err := g.Members(); err != nil || len(members) != 2 {
				t.Errorf("members %v, %v", members, err)
			}
			if err := g.End(time.Minute, nil); err != nil {
				t.Fatal(err)
			}
			if <-p.Done(); p.ExitCode() != 5 {
				t.Errorf("exit code %d", p.ExitCode())
			}
			if got := line(t, out); got != "bye" {
				t.Errorf("printed %q", got)
			}
		})
	}
}

func TestEndTheStubborn(t *testing.T) {
	for kind, groups := range groupKinds {
		for name, hurry := range map[string]bool{"after the grace": false, "in a hurry": true} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				g := newGroup(t, groups(t))
				p, out := begin(t, g, `trap '' TERM; sh -c "while :; do sleep 1000; done" & echo ready; while :; do wait; done`)
				line(t, out)
				grace, now := 50*time.Millisecond, make(chan struct{})
				if hurry {
					grace = time.Hour
					close(now)
				}
				if err := g.End(grace, now); err != nil {
					t.Fatal(err)
				}
				if <-p.Done(); p.ExitCode() != 128+int(syscall.SIGKILL) {
					t.Errorf("exit code %d", p.ExitCode())
				}
			})
		}
	}
}

// TestNoneEscapesACgroup: neither another session nor an ended parent hides a process.
func TestNoneEscapesACgroup(t *testing.T) {
	g := newGroup(t, cgroups(t))
	p, out := begin(t, g, `setsid sh -c 'trap "" TERM HUP; echo $$; sleep 1000' & exit 0`)
	daemon := atoi(t, line(t, out))
	<-p.Done()
	if members, err := g.Members(); err != nil || len(members) == 0 {
		t.Errorf("members %v, %v", members, err)
	}
	if err := g.End(0, nil); err != nil {
		t.Fatal(err)
	}
	if alive(daemon) {
		t.Errorf("process %d is alive", daemon)
	}
}

// TestLatecomersEnd: what is forked while its parent is ended must not wait out
// the grace, but what helps a parent to end must be let alone.
func TestLatecomersEnd(t *testing.T) {
	g := newGroup(t, cgroups(t))
	p, out := begin(t, g, `trap 'sh -c "trap \"echo disturbed\" TERM; sleep 0.2; echo helped"; sleep 1000 & exit 6' TERM; echo ready; while :; do sleep 0.01; done`)
	line(t, out)
	if err := g.End(time.Hour, nil); err != nil {
		t.Fatal(err)
	}
	if <-p.Done(); p.ExitCode() != 6 {
		t.Errorf("exit code %d", p.ExitCode())
	}
	if got := line(t, out); got != "helped" {
		t.Errorf("the helper was %q", got)
	}
}

// TestStoppedProcessesEnd: one that is stopped must not wait out its grace.
func TestStoppedProcessesEnd(t *testing.T) {
	g := newGroup(t, cgroups(t))
	p, out := begin(t, g, `trap 'exit 4' TERM; echo $$; kill -STOP $$; while :; do sleep 0.01; done`)
	pid := atoi(t, line(t, out))
	for {
		if info, err := read(pid); err != nil || info.Stopped {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := g.End(time.Hour, nil); err != nil {
		t.Fatal(err)
	}
	if <-p.Done(); p.ExitCode() != 4 {
		t.Errorf("exit code %d", p.ExitCode())
	}
}

func TestForkBombEnds(t *testing.T) {
	g := newGroup(t, cgroups(t))
	_, out := begin(t, g, `echo; f() { while :; do sh -c : & done; }; f & f & f`)
	line(t, out)
	if err := g.End(0, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Members(); !errors.Is(err, unix.ENOENT) {
		t.Errorf("the cgroup is still there: %v", err)
	}
}

func TestOpenGroupsRefusesAFolder(t *testing.T) {
	if _, err := OpenGroups(t.TempDir()); err == nil {
		t.Error("a folder that is no cgroup was taken for one")
	}
}
