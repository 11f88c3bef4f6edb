package bench

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestQuantile(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		q      float64
		want   float64
	}{
		{[]float64{3}, 0.5, 3},
		{[]float64{9, 1, 5}, 0.5, 5},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{5, 4, 3, 2, 1}, 0.25, 2},
		{[]float64{1, 2}, 1, 2},
	} {
		before := slices.Clone(tt.values)
		if got := quantile(tt.values, tt.q); got != tt.want {
			t.Errorf("quantile(%v, %v) = %v, want %v", tt.values, tt.q, got, tt.want)
		}
		if !slices.Equal(before, tt.values) {
			t.Errorf("quantile changed its argument to %v", tt.values)
		}
	}
}

// inTurn is a contender that answers the values in turn and records its name.
func inTurn(order *[]string, name string, values ...float64) contender {
	i := -1
	return contender{name: name, once: func(context.Context) (figures, error) {
		*order = append(*order, name)
		i++
		return figures{"": values[i]}, nil
	}}
}

func TestContestInterleaves(t *testing.T) {
	var order []string
	broken := contender{name: "broken", once: func(context.Context) (figures, error) { return nil, errors.New("it is | so\nbad") }}
	c := contest{
		rounds:     2,
		contenders: []contender{inTurn(&order, "a", 99, 1, 3), inTurn(&order, "b", 99, 4, 4), broken},
		rows: []row{
			{what: "x", pyro: "a", other: "b", unit: duration, target: target{ratio: 0.5}},
			{what: "y", pyro: "b", other: "a", unit: duration, target: target{ratio: 0.5}},
			{what: "z", pyro: "a", other: "broken", unit: duration, target: target{figure: 2}},
			{what: "no such figure", figure: "f", pyro: "a", other: "b", unit: duration},
		},
	}
	got, err := c.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := "a b a b a b"; strings.Join(order, " ") != want {
		t.Errorf("order %v, want %s", order, want)
	}
	want := results{{"a", ""}: {1, 3}, {"b", ""}: {4, 4}} // without the warm-up
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var b strings.Builder
	c.render(&b, got)
	wantTable := `| x | a: **2.00 s** | b: **4.00 s** | 0.50 | ≤ 0.5, met | 2 |
| y | b: **4.00 s** | a: **2.00 s** | 2.00 | ≤ 0.5, **missed** | 2 |
| z | a: **2.00 s** | broken: not measured, it is \| so bad |  | ≤ 2.00 s, met | 2 |
| no such figure |  |  |  |  | 2 |
`
	if diff := cmp.Diff(wantTable, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestContestFailsWithPyro(t *testing.T) {
	c := contest{rounds: 1, contenders: []contender{{name: "p", ours: true, once: func(context.Context) (figures, error) { return nil, os.ErrInvalid }}}}
	if _, err := c.run(t.Context()); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("error %v, want %v", err, os.ErrInvalid)
	}
}

func TestReplaceSection(t *testing.T) {
	begin, end := section("s")
	doc := "head\n" + begin + "old\n" + end + "tail\n"
	got, err := replaceSection(doc, "s", "new\n")
	if want := "head\n" + begin + "new\n" + end + "tail\n"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	for _, bad := range []string{"", begin, end, end + begin} {
		if _, err := replaceSection(bad, "s", ""); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

// TestDocumentHasTheSections: what make bench writes has its place.
func TestDocumentHasTheSections(t *testing.T) {
	doc, err := os.ReadFile("../docs/benchmarks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"machine", "comparison", "work", "workspaces", "seeds", "places", "environments", "microvms"} {
		if _, err := replaceSection(string(doc), name, ""); err != nil {
			t.Error(err)
		}
	}
}

func TestPackagesOf(t *testing.T) {
	got, err := packagesOf("debian:12-build")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"apt", "git", "build-essential"} { // of the entry and those it extends
		if !slices.Contains(got, want) {
			t.Errorf("%v lacks %s", got, want)
		}
	}
	if _, err := packagesOf("nosuch:1"); err == nil {
		t.Error("no error for an unknown environment")
	}
}

// TestProcessesOf: processes are found by argument, by environment and, with
// children, by descent; no others.
func TestProcessesOf(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", "env -i sleep 1000 & echo $!; wait")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "SOME=" + dir + "/x"}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	var child [32]byte
	if _, err := out.Read(child[:]); err != nil { // the child has begun
		t.Fatal(err)
	}
	if got := processesOf(dir, true); !slices.Contains(got, cmd.Process.Pid) || len(got) != 2 {
		t.Errorf("with children: %v, want %d and its child", got, cmd.Process.Pid)
	}
	if used := pss(processesOf(dir, true)); used < 10e3 || used > 1e9 {
		t.Errorf("PSS of two small processes is %.0f bytes", used)
	}
	if got := processesOf(dir+"y", true); len(got) != 0 {
		t.Errorf("processes of another folder: %v", got)
	}
	grandchild := processesOf(dir, true)
	if err := killAll(dir); err != nil {
		t.Fatal(err)
	}
	for _, pid := range grandchild {
		if p, err := os.FindProcess(pid); err == nil && pid != cmd.Process.Pid {
			_ = p.Kill() // it names nothing and is nobody's by now
		}
	}
	if got := processesOf(dir, false); len(got) != 0 {
		t.Errorf("after killAll: %v", got)
	}
}
