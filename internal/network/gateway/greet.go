package gateway

import (
	"net/netip"

	"pyro/internal/network/greeting"
	"pyro/internal/network/policy"
)

// says compares whom the guest asks for with what its policy opens there.
func (g *Gateway) says(said greeting.Greeting, to netip.AddrPort) bool {
	if said.Broken {
		g.refuse(policy.TCP, to, nil, policy.Decision{Reason: "its " + string(said.Protocol) + " greeting cannot be read, so that it is not known whom it is for"})
		return false
	}
	for _, name := range said.Names {
		if d := g.options.Policy.Says(policy.TCP, name, to); !d.Allowed {
			g.refuse(policy.TCP, to, []string{name}, d)
			return false
		}
	}
	return true
}

// greet passes on what the guest says first, once it may go on; if it may not,
// both sides are reset. The host's side may speak meanwhile.
func (t *tunnel) greet() bool {
	if t.says == nil {
		return true
	}
	first := make([]byte, greeting.MaxSize)
	for n := 0; ; {
		said := greeting.Read(first[:n])
		if !said.More {
			if !t.says(said, t.to) {
				t.reset()
				return false
			}
			_, err := t.host.Write(first[:n])
			return err == nil || t.failed()
		}
		read, err := t.guest.Read(first[n:])
		n += read
		t.flow.touch()
		if err != nil { // it ended before it said anything that names a server
			_, _ = t.host.Write(first[:n])
			return true // copy meets the same end
		}
	}
}

// failed resets both sides, and is false.
func (t *tunnel) failed() bool {
	t.reset()
	return false
}
