package boot

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCommandLine(t *testing.T) {
	want := Config{PIDs: 512, Disks: []string{DiskRoot, DiskUpper, DiskSeed}, Now: time.Unix(1_700_000_000, 123), Hostname: "vm-1", Vsock: true}
	got, err := parse("console=ttyS0 quiet GOGC=50 " + want.CommandLine() + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{"pyro.pids=many", "pyro.now=later", "pyro.vsock=perhaps"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// TestModules: those of vsock are for machines that have a vsock device.
func TestModules(t *testing.T) {
	for file, plain := range map[string]bool{"00-virtio_mmio.ko": true, "05-vsock.ko": false, "07-vmw_vsock_virtio_transport.ko": false} {
		if without, with := (Config{}).wants(file), (Config{Vsock: true}).wants(file); without != plain || !with {
			t.Errorf("%s: wanted %v without a device, %v with one", file, without, with)
		}
	}
}
