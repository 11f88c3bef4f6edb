package gateway

import (
	"io"
	"net/netip"
	"slices"
	"time"

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

// greetTime is how long a guest may take over its greeting once it has begun.
const greetTime = 15 * time.Second

// greet passes on what the guest says first, once it may go on; if it may not,
// both sides are reset. The host's side may speak meanwhile.
func (t *tunnel) greet() bool {
	if t.says == nil {
		return true
	}
	said, first := t.hear()
	if !t.says(said, t.to) {
		return t.failed()
	}
	_, err := t.host.Write(first)
	return err == nil || t.failed()
}

// hear reads until it is known whom the guest asks for. What the guest leaves
// unfinished is judged too, and what it does not finish in time is broken: some
// servers take the end of a connection for the end of a request.
func (t *tunnel) hear() (said greeting.Greeting, first []byte) {
	defer func() { _ = t.guest.SetReadDeadline(time.Time{}) }()
	for {
		if said = greeting.Read(first); !said.More {
			return said, first
		}
		if len(first) == cap(first) {
			first = slices.Grow(first, 4<<10)
		}
		n, err := t.guest.Read(first[len(first):min(cap(first), greeting.MaxSize)])
		if n > 0 && len(first) == 0 {
			_ = t.guest.SetReadDeadline(time.Now().Add(greetTime))
		}
		first = first[:len(first)+n]
		t.flow.touch()
		switch {
		case err == io.EOF:
			return greeting.Last(first), first
		case err != nil:
			return greeting.Greeting{Protocol: said.Protocol, Broken: len(first) > 0}, nil
		}
	}
}

// failed resets both sides, and is false.
func (t *tunnel) failed() bool {
	t.reset()
	return false
}
