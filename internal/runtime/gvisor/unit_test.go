package gvisor

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/control/client"
	"gvisor.dev/gvisor/pkg/unet"
)

func TestShapeRoundTrip(t *testing.T) {
	for _, want := range []shape{
		{memory: 1 << 30, cpus: []int{0}},
		{memory: 1 << 40, cpus: []int{3, 0, 127}},
		{memory: 64 << 20},
	} {
		got, ok := parseShape(want.String())
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(shape{})); !ok || diff != "" {
			t.Errorf("%s: ok=%v (-want +got):\n%s", want, ok, diff)
		}
	}
	for _, bad := range []string{"", "guest", "guest.", "guest.x", "guest.1.y", "other.1.2"} {
		if s, ok := parseShape(bad); ok {
			t.Errorf("parseShape(%q) = %+v", bad, s)
		}
	}
}

func TestShapeRewritesBootArguments(t *testing.T) {
	args := []string{sandboxArg0, "--root=/r", "boot", "--bundle=/x/guest.4096", "--total-host-memory", "9", "--total-memory", "9", "id"}
	s, ok := shapeOf(args)
	if !ok {
		t.Fatal("no shape found")
	}
	want := slices.Clone(args)
	want[7] = "4096"
	if diff := cmp.Diff(want, s.apply(args)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestShapeBindsToCPUs(t *testing.T) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for !before.IsSet(cpu) {
		cpu++
	}
	defer bindAllThreads(&before)
	args := shape{memory: 1, cpus: []int{cpu}}.apply([]string{sandboxArg0, "boot", "id"})
	if want := []string{sandboxArg0, "boot", "--cpu-num=1", "id"}; !slices.Equal(args, want) {
		t.Errorf("arguments %q, want %q", args, want)
	}
	tasks, err := filepath.Glob("/proc/self/task/[0-9]*/status")
	if err != nil || len(tasks) == 0 {
		t.Fatal("no threads found", err)
	}
	var now unix.CPUSet
	if err := unix.SchedGetaffinity(0, &now); err != nil || now.Count() != 1 || !now.IsSet(cpu) {
		t.Errorf("affinity has %d CPUs, want CPU %d alone (%v)", now.Count(), cpu, err)
	}
}

func TestDonatedFDs(t *testing.T) {
	got := donatedFDs([]string{
		goferArg0, "--log-fd=3", "boot", "--io-fds=4,5", "--pass-fd=15:3,16:4", "-spec-fd=11",
		"--dev-io-fd=-1", "--total-memory=77", "--bundle=/fd=9", "id-fd=8",
	})
	want := map[int]bool{3: true, 4: true, 5: true, 15: true, 16: true, 11: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCPUPoolSpreads(t *testing.T) {
	p := &cpuPool{users: map[int]int{0: 0, 1: 0, 2: 0}}
	a, b := p.take(2), p.take(1)
	if !slices.Equal(a, []int{0, 1}) || !slices.Equal(b, []int{2}) {
		t.Errorf("take(2) = %v, take(1) = %v; want the least used first", a, b)
	}
	p.give(a)
	if c := p.take(1); !slices.Equal(c, []int{0}) {
		t.Errorf("after give: %v, want [0]", c)
	}
	if all := p.take(9); len(all) != 3 {
		t.Errorf("take(9) of 3 CPUs = %v", all)
	}
	p.adopt([]int{2, 77}) // a CPU that has gone since is ignored
}

// TestCallWithin: a sandbox that has stopped takes the connection, and no more.
func TestCallWithin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	server, err := unet.BindAndListen(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	conn, err := client.ConnectTo(path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := callWithin(10*time.Millisecond, conn, "Network.CreateLinksAndRoutes", struct{}{}); err == nil || !strings.Contains(err.Error(), "did not answer within 10ms") {
		t.Errorf("got %v", err)
	}
}
