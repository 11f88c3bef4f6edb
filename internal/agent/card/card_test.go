package card

import (
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"pyro/internal/agent/wire"
)

func TestMessage(t *testing.T) {
	r := request{
		kind: unix.RTM_NEWROUTE, flags: replace, body: encode(unix.RtMsg{Family: unix.AF_INET, Type: unix.RTN_UNICAST}),
		attributes: []attribute{{unix.RTA_GATEWAY, []byte{10, 0, 0, 1}}, {unix.RTA_OIF, []byte{7}}},
	}
	want := slices.Concat(
		encode(uint32(44)), encode([]uint16{unix.RTM_NEWROUTE, unix.NLM_F_REQUEST | unix.NLM_F_ACK | replace}), encode([]uint32{9, 0}),
		r.body,
		encode([]uint16{8, unix.RTA_GATEWAY}), []byte{10, 0, 0, 1},
		encode([]uint16{5, unix.RTA_OIF}), []byte{7, 0, 0, 0},
	)
	if diff := cmp.Diff(want, r.message(9)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(request{kind: unix.NLMSG_ERROR, body: encode(int32(-int(unix.ENODEV)))}.message(1))
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, reply []byte) { _ = answer(reply) })
}

// inNamespace marks the run of a test in a network namespace of its own.
const inNamespace = "PYRO_TEST_CARD_NAMESPACE"

// TestSetUp sets up a card of a real kernel, twice, and removes it.
func TestSetUp(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		enterNamespace(t)
		return
	}
	ip(t, "link", "add", "eth0", "type", "veth", "peer", "name", "far")
	ip(t, "link", "set", "far", "up")
	c := wire.Card{
		Name:      "eth0",
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.8.2/30"), netip.MustParsePrefix("fd00:9::2/64")},
		Gateways: []wire.Gateway{
			{Addr: netip.MustParseAddr("10.9.8.1"), MAC: []byte{2, 0, 0, 0, 0, 1}},
			{Addr: netip.MustParseAddr("fd00:9::1"), MAC: []byte{2, 0, 0, 0, 0, 1}},
		},
	}
	for range 2 {
		if err := SetUp(c); err != nil {
			t.Fatal(err)
		}
	}
	for _, check := range []struct{ args, want string }{
		{"-4 addr show eth0", "inet 10.9.8.2/30"},
		{"-6 addr show eth0", "inet6 fd00:9::2/64"},
		{"-4 route", "default via 10.9.8.1 dev eth0"},
		{"-6 route", "default via fd00:9::1 dev eth0"},
		{"-4 neigh", "10.9.8.1 dev eth0 lladdr 02:00:00:00:00:01 PERMANENT"},
		{"-6 neigh", "fd00:9::1 dev eth0 lladdr 02:00:00:00:00:01 PERMANENT"},
	} {
		if got := ip(t, strings.Fields(check.args)...); strings.Count(got, check.want) != 1 {
			t.Errorf("ip %s says %s, want %s", check.args, got, check.want)
		}
	}
	if got := ip(t, "-6", "addr", "show", "eth0"); strings.Contains(got, "fe80") || strings.Contains(got, "tentative") {
		t.Errorf("the kernel has found out addresses for itself: %s", got)
	}
	for range 2 {
		if err := Drop("eth0"); err != nil {
			t.Fatal(err)
		}
	}
	if got := ip(t, "link"); strings.Contains(got, "eth0") {
		t.Errorf("the card is still there: %s", got)
	}
	if err := SetUp(c); err == nil || !strings.Contains(err.Error(), "eth0") {
		t.Errorf("a card that is not there: %v", err)
	}
}

func enterNamespace(t *testing.T) {
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip, of iproute2, to look at the card")
	}
	self := exec.Command("/proc/self/exe", "-test.run=^TestSetUp$", "-test.v")
	self.Env = append(os.Environ(), inNamespace+"=1")
	self.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	out, err := self.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v %s", args, err, out)
	}
	return string(out)
}
