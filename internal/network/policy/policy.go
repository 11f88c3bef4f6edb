// Package policy decides what a sandbox may reach.
//
// A [Policy] is asked twice for one connection: [Policy.Name] when the guest
// looks a name up, and [Policy.Connect] when it talks to an address. In between
// stands [Policy.Resolve], which says whether a name may lead to the address
// that the look-up gave. Whoever asks keeps a book of which addresses were given
// out for which names (package dns has one), and hands Connect the names of the
// very address that is dialled: an address that nobody looked up under an
// allowed name is refused.
//
// There are three kinds of policies. [Off] lets nothing through. [Egress] is the
// internet, without the addresses that [Classify] calls special: the host's
// loopback, link-local and metadata addresses, private networks, multicast and
// all that is reserved or stands for such an address. An allowlist, read by
// [Parse], opens what its rules name and nothing else; a file may also add rules
// to egress. docs/network.md describes the file for its writers:
//
//	{
//	  "version": 1,
//	  "rules": [
//	    {"name": "*.example.com", "ports": [443]},
//	    {"name": "git.example.lan", "ports": [22], "private": true},
//	    {"address": "192.0.2.0/24", "ports": ["8000-8100"], "protocols": ["tcp", "udp"]}
//	  ]
//	}
//
// Rules only ever open; none closes what another opens, so their order means
// nothing. A policy never changes after it was made and may be used by any
// number of goroutines. The package opens no file and no connection.
package policy

import (
	"net/netip"
	"slices"
)

// The bases of policies: what holds where no rule speaks.
const (
	BaseOff       = "off"       // no network at all
	BaseAllowlist = "allowlist" // nothing but what the rules open
	BaseEgress    = "egress"    // the internet, and what the rules open
)

// Policy decides what a sandbox may reach. The zero value lets nothing through.
type Policy struct {
	base  string
	note  string
	rules []rule
	// own says which addresses are the host's own; nil for none known.
	own func(netip.Addr) bool
}

// Off is the policy of a sandbox without network.
func Off() *Policy { return &Policy{base: BaseOff} }

// Egress is the internet, without special addresses.
func Egress() *Policy { return &Policy{base: BaseEgress} }

// Allowlist is an allowlist without a rule: everything is refused, and logged,
// so that a policy can be written from what was refused.
func Allowlist() *Policy { return &Policy{base: BaseAllowlist} }

// WithHost returns a policy that counts the addresses that own reports as private
// ones: an address of the internet that is also one of the host leads to the
// host's own services, past its firewall. own is called from many goroutines.
func (p *Policy) WithHost(own func(netip.Addr) bool) *Policy {
	q := *p
	q.own = own
	return &q
}

// Base is [BaseOff], [BaseAllowlist] or [BaseEgress].
func (p *Policy) Base() string {
	if p.base == "" {
		return BaseOff
	}
	return p.base
}

// Note is what the writer of the file had to say about it.
func (p *Policy) Note() string { return p.note }

// Rules are the rules in the canonical form that [Policy.MarshalJSON] writes.
func (p *Policy) Rules() []Rule {
	rules := make([]Rule, len(p.rules))
	for i := range p.rules {
		rules[i] = p.rules[i].file
		rules[i].Ports = slices.Clone(rules[i].Ports)
		rules[i].Protocols = slices.Clone(rules[i].Protocols)
		rules[i].Records = slices.Clone(rules[i].Records)
	}
	return rules
}
