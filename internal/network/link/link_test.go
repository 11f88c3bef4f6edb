package link_test

import (
	"testing"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"pyro/internal/network/link"
)

// TestGatewayGone: a guest lets go of its card when all that held the gateway's
// end were killed while frames were on their way. It hangs if the link tells the
// guest of its end.
func TestGatewayGone(t *testing.T) {
	gateway, guest, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	frame := make([]byte, 1000)
	for sent := 0; ; sent++ {
		if _, err := unix.Write(int(gateway.Fd()), frame); err != nil || sent == 100 {
			break
		}
	}
	gateway.Close()
	endpoint, err := fdbased.New(&fdbased.Options{
		FDs: []int{int(guest.Fd())}, MTU: link.MTU, EthernetHeader: true, Address: tcpip.LinkAddress(link.GuestMAC),
		PacketDispatchMode: fdbased.RecvMMsg, PreConfigured: true, IsPacketSocket: []bool{false},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := stack.New(stack.Options{NetworkProtocols: []stack.NetworkProtocolFactory{ipv4.NewProtocol}})
	if err := s.CreateNIC(1, endpoint); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveNIC(1); err != nil {
		t.Fatal(err)
	}
	s.Destroy()
}
