package refusals

import (
	"net/netip"
	"time"
)

// Protocols of events besides those of package policy.
const (
	DNS    = "dns"    // a look-up
	Others = "others" // stands for the events that were too many to keep
)

// Event is one thing that the guest tried and was refused, with how often.
type Event struct {
	// Protocol is [DNS], tcp, udp or icmp, or [Others].
	Protocol string `json:"protocol"`
	// Name is the name that was looked up or led to the address; empty when the
	// guest used an address that no name led to.
	Name string `json:"name,omitempty"`
	// Record is the type of a look-up, "A".
	Record string `json:"record,omitempty"`
	// Address is what was connected to, or what a name led to; the zero value for
	// none.
	Address netip.Addr `json:"address,omitzero"`
	// Port is 0 for look-ups and ICMP.
	Port uint16 `json:"port,omitempty"`
	// Reason is why, in the words of the policy's decision.
	Reason string `json:"reason"`
	// Rule is the rule that came nearest, in the words of the decision.
	Rule string `json:"rule,omitempty"`
	// First and Last are when it was tried, Count how often. A writer takes a zero
	// Count for 1 and a zero time for now.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
	Count int64     `json:"count"`
}

// key is an event without its times and count: two with the same key are the
// same refusal. The reason is not in it, for it follows from the rest.
type key struct {
	protocol, name, record, rule string
	address                      netip.Addr
	port                         uint16
}

func (e *Event) key() key {
	return key{e.Protocol, e.Name, e.Record, e.Rule, e.Address, e.Port}
}
