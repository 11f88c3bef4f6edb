package carrier

import (
	"testing"
)

func TestIsUplink(t *testing.T) {
	for cmdline, want := range map[string]bool{
		"pyro-uplink\x00--machine=/m/vm-1\x00":       true,
		"pyro-uplink\x00--machine=/m/vm-12\x00":      false, // another's
		"pyro-uplink\x00--machine=/other/m/vm-1\x00": false,
		"pyro-uplink2\x00--machine=/m/vm-1\x00":      false,
		"cat\x00--machine=/m/vm-1\x00":               false,
		"":                                           false,
	} {
		if got := isUplink([]byte(cmdline), "/m/vm-1"); got != want {
			t.Errorf("%q: %v", cmdline, got)
		}
	}
}
