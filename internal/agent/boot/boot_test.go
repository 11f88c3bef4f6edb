package boot

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCommandLine(t *testing.T) {
	want := Config{PIDs: 512, Disks: []string{DiskRoot, DiskUpper, DiskSeed}, Now: time.Unix(1_700_000_000, 123), Hostname: "vm-1"}
	got, err := parse("console=ttyS0 quiet GOGC=50 " + want.CommandLine() + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{"pyro.pids=many", "pyro.now=later"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
