package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Decision is the answer to one question, for the guest's connection and for the
// log.
type Decision struct {
	Allowed bool
	// Reason says why not, in words that follow "refused: "; empty when allowed.
	Reason string
	// Rule is what decided: a rule of the file by its number and subject, or the
	// base. Of a refusal it is the rule that came nearest; empty for none.
	Rule string
}

// Records are the types of records that a rule may open for a name. A, AAAA and
// CNAME are always open for a name that is; the others carry text of any content,
// or lead to where no rule does. Egress opens them all.
var Records = []string{"TXT", "SRV", "MX", "NS", "SOA", "CAA", "NAPTR", "HTTPS", "SVCB", "SSHFP", "TLSA", "URI"}

// addressRecords are the types that are open for every name that is.
var addressRecords = []string{"A", "AAAA", "CNAME"}

func allowedBy(rule string) Decision { return Decision{Allowed: true, Rule: rule} }

func refused(rule, format string, args ...any) Decision {
	return Decision{Reason: fmt.Sprintf(format, args...), Rule: rule}
}

// Name decides whether a name may be looked up at all. It takes names as they
// come from a guest.
func (p *Policy) Name(name string) Decision {
	canonical, err := CanonicalName(name)
	switch {
	case p.Base() == BaseOff:
		return refused(BaseOff, "the sandbox has no network")
	case err != nil:
		return refused("", "the name cannot be looked up: %v", err)
	}
	for i := range p.rules {
		if p.rules[i].named(canonical) {
			return allowedBy(p.rules[i].label)
		}
	}
	if p.base == BaseEgress {
		return allowedBy(BaseEgress)
	}
	return refused("", "no rule of the policy is for the name %s", clip(canonical))
}

// named reports whether the rule is for the canonical name.
func (r *rule) named(name string) bool {
	return !r.prefix.IsValid() && r.pattern.matches(name)
}

// Record decides whether records of a type, "TXT", may be looked up for a name.
func (p *Policy) Record(name, record string) Decision {
	d := p.Name(name)
	if !d.Allowed || slices.Contains(addressRecords, record) {
		return d
	}
	canonical, _ := CanonicalName(name)
	for i := range p.rules {
		if r := &p.rules[i]; r.named(canonical) && slices.Contains(r.file.Records, record) {
			return allowedBy(r.label)
		}
	}
	if p.base == BaseEgress && slices.Contains(Records, record) {
		return allowedBy(BaseEgress)
	}
	return refused(d.Rule, "no rule opens %s records of %s", clip(record), clip(canonical))
}

// Resolve decides whether a name may lead to an address that a look-up of it
// gave. It is what stands against names whose owner points them at the host's own
// network.
func (p *Policy) Resolve(name string, addr netip.Addr) Decision {
	d := p.Name(name)
	if !d.Allowed {
		return d
	}
	canonical, _ := CanonicalName(name)
	class, what := p.classify(addr)
	for i := range p.rules {
		r := &p.rules[i]
		switch {
		case r.named(canonical) && r.reaches(class, addr):
			return allowedBy(r.label)
		case r.prefix.IsValid() && r.prefix.Contains(addr) && r.reaches(class, addr):
			return allowedBy(r.label) // the address is open anyway, as far as this rule goes
		}
	}
	if class <= Documentation { // of egress: a rule for the name would have reached it
		return d
	}
	return refused(d.Rule, "%s leads to %s, which is %s", clip(canonical), addr, what)
}

// Class is [Classify], and counts the host's own addresses as private if the
// policy knows them.
func (p *Policy) Class(addr netip.Addr) Class {
	class, _ := p.classify(addr)
	return class
}

// classify knows the host's own addresses too.
func (p *Policy) classify(addr netip.Addr) (Class, string) {
	class, what := Classify(addr)
	if class <= Documentation && p.own != nil && (p.own(addr) || nat64.Contains(addr) && p.own(lastFour(addr))) {
		return Private, "an address of the host itself"
	}
	return class, what
}

// Connect decides whether the guest may talk to an address. names are those for
// which the address was given out to this guest, in any spelling. The protocol is
// [TCP], [UDP] or [ICMP]; the port is ignored for ICMP.
//
// The decision holds for exactly this address: whoever connects must not look
// the name up again.
func (p *Policy) Connect(protocol string, names []string, addr netip.AddrPort) Decision {
	if p.Base() == BaseOff {
		return refused(BaseOff, "the sandbox has no network")
	}
	if !slices.Contains(protocols, protocol) {
		return refused("", "the protocol %s is not passed on", clip(protocol))
	}
	class, what := p.classify(addr.Addr())
	nearest := "" // a rule for this name or address that does not go far enough
	why := ""
	for i := range p.rules {
		r := &p.rules[i]
		if !r.concerns(names, addr.Addr()) {
			continue
		}
		opens, reaches := r.opens(protocol, addr.Port()), r.reaches(class, addr.Addr())
		switch {
		case opens && reaches:
			return allowedBy(r.label)
		case opens:
			nearest, why = r.label, ""
		case reaches && nearest == "":
			nearest, why = r.label, fmt.Sprintf("%s is open for %s only", r.file.subject(), r.openness())
		}
	}
	switch {
	case p.base == BaseEgress && (class == Public || class == Documentation && slices.ContainsFunc(names, isName)):
		return allowedBy(BaseEgress)
	case why != "":
		return refused(nearest, "%s", why)
	case class != Public:
		return refused(nearest, "%s is %s", addr.Addr(), what)
	case len(names) > 0:
		return refused("", "no rule of the policy is for the name %s", clip(strings.Join(names, " or ")))
	}
	return refused("", "no name that the policy opens was looked up and led to %s", addr.Addr())
}

func isName(name string) bool {
	_, err := CanonicalName(name)
	return err == nil
}

// concerns reports whether the rule is for the address, or for one of the names
// that led to it.
func (r *rule) concerns(names []string, addr netip.Addr) bool {
	if r.prefix.IsValid() {
		return r.prefix.Contains(addr)
	}
	return slices.ContainsFunc(names, func(name string) bool {
		canonical, err := CanonicalName(name)
		return err == nil && r.pattern.matches(canonical)
	})
}

// Says decides for a connection that [Policy.Connect] allowed once the guest's
// first bytes said which server it wants: the name in a TLS ClientHello or in the
// Host field of a request. Servers at one address tell their names apart by it, so
// a name that no rule opens on this port is refused, unless all of the address is
// open.
func (p *Policy) Says(protocol, name string, addr netip.AddrPort) Decision {
	if d := p.Connect(protocol, nil, addr); d.Allowed {
		return d
	}
	if d := p.Connect(protocol, []string{name}, addr); d.Allowed {
		return d
	}
	return refused("", "the connection asks for %s, which no rule of the policy opens at %s", clip(name), addr)
}
