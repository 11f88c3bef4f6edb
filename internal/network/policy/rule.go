package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Rule opens ports of a name or of addresses, as it stands in a policy file.
type Rule struct {
	// Name is a name, or "*." and a name for all names below it, of any depth.
	Name string `json:"name,omitempty"`
	// Address is an address or a prefix, 192.0.2.1 or 192.0.2.0/24. A rule has
	// either a name or an address.
	Address string `json:"address,omitempty"`
	// Ports default to 80 and 443; ICMP has none.
	Ports []Ports `json:"ports,omitempty"`
	// Protocols are of tcp, udp and icmp, and default to tcp.
	Protocols []string `json:"protocols,omitempty"`
	// Records are the types that may be looked up for the name besides A, AAAA
	// and CNAME.
	Records []string `json:"records,omitempty"`
	// Private says that the rule is meant for addresses that are not the
	// internet's.
	Private bool `json:"private,omitempty"`
	// Note is for people.
	Note string `json:"note,omitempty"`
}

// rule is a Rule that was checked.
type rule struct {
	file      Rule // canonical
	label     string
	pattern   pattern      // of a rule for a name
	prefix    netip.Prefix // valid in a rule for an address
	ports     []Ports
	protocols []string
}

// The protocols, as rules and [Policy.Connect] name them.
const (
	TCP  = "tcp"
	UDP  = "udp"
	ICMP = "icmp"
)

var protocols = []string{TCP, UDP, ICMP}

// Bounds on what a file may hold; a policy is asked for every connection.
const (
	MaxRules = 1000
	MaxPorts = 64   // of a rule
	MaxNote  = 1000 // bytes, of the file and of a rule
)

// compile checks a rule, the one at place i of its file.
func (f Rule) compile(i int) (rule, error) {
	r := rule{file: f, ports: f.Ports}
	var err error
	switch {
	case f.Name != "" && f.Address != "":
		err = &valueError{"rule", "it has a name and an address", "make two rules of it"}
	case f.Name != "":
		r.pattern, err = parsePattern(f.Name)
		r.file.Name = r.pattern.String()
	case f.Address != "":
		r.prefix, err = f.parseAddress()
		r.file.Address = addressText(r.prefix)
	default:
		err = &valueError{"rule", "it has neither a name nor an address", `add "name" or "address"`}
	}
	if err == nil {
		err = r.complete()
	}
	r.label = fmt.Sprintf("rule %d, %s", i+1, r.file.subject())
	return r, err
}

// subject is what the rule is for, in its own words.
func (f Rule) subject() string { return clip(f.Name + f.Address) }

// complete checks what rules for names and for addresses have in common, and
// fills in the defaults.
func (r *rule) complete() error {
	for i, p := range r.file.Protocols {
		if !slices.Contains(protocols, p) || slices.Contains(r.file.Protocols[:i], p) {
			return &valueError{"protocols", fmt.Sprintf("%q is unknown or there twice", clip(p)), "choose from tcp, udp and icmp"}
		}
	}
	if r.protocols = r.file.Protocols; len(r.protocols) == 0 {
		r.protocols = []string{TCP}
	}
	onlyPing := slices.Equal(r.protocols, []string{ICMP})
	switch {
	case slices.ContainsFunc(r.file.Ports, func(p Ports) bool { return p.First == 0 || p.First > p.Last }):
		return &valueError{"ports", "there is one that is neither a port nor a range of ports", "ports are 1 to 65535"}
	case len(r.file.Ports) > MaxPorts:
		return &valueError{"ports", fmt.Sprintf("there are %d, at most %d are possible", len(r.file.Ports), MaxPorts), `write ranges, "8000-8100"`}
	case len(r.file.Ports) > 0 && onlyPing:
		return &valueError{"ports", "icmp has none", `leave "ports" out, or add tcp to the protocols`}
	case len(r.file.Ports) == 0:
		r.ports = defaultPorts
	}
	if len(r.file.Note) > MaxNote {
		return &valueError{"note", fmt.Sprintf("it has %d bytes, at most %d are possible", len(r.file.Note), MaxNote), ""}
	}
	return r.checkRecords()
}

func (r *rule) checkRecords() error {
	if len(r.file.Records) > 0 && r.file.Address != "" {
		return &valueError{"records", "they are of names, and this rule is for an address", `leave "records" out`}
	}
	r.file.Records = slices.Clone(r.file.Records)
	for i, name := range r.file.Records {
		name = strings.ToUpper(name)
		if !slices.Contains(Records, name) || slices.Contains(r.file.Records[:i], name) {
			return &valueError{"records", fmt.Sprintf("%q is unknown or there twice", clip(name)), "choose from " + strings.Join(Records, ", ")}
		}
		r.file.Records[i] = name
	}
	return nil
}

// parseAddress reads an address or a prefix without bits behind its length.
func (f Rule) parseAddress() (netip.Prefix, error) {
	bad := func(what, hint string) (netip.Prefix, error) {
		return netip.Prefix{}, &valueError{"address", what, hint}
	}
	prefix, err := netip.ParsePrefix(f.Address)
	if addr, errAddr := netip.ParseAddr(f.Address); errAddr == nil {
		if addr.Zone() != "" {
			return bad("it has a zone, which names an interface of the host", "write it without "+clip("%"+addr.Zone()))
		}
		prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	switch {
	case err != nil:
		return bad("it is neither an address nor a prefix", `write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32; a name is given as "name"`)
	case prefix.Addr().Is4In6():
		return bad("it is an IPv4 address in IPv6 form", "write the IPv4 address")
	case prefix != prefix.Masked():
		return bad("it has bits behind its length", "write "+prefix.Masked().String())
	}
	class, what := Classify(prefix.Addr())
	switch {
	case class == Never && prefix.Bits() > 0 && covers(prefix):
		return bad("it is "+what+", which is never reached", "leave the rule out")
	case class != Public && !f.Private && covers(prefix):
		return bad("it is "+what, `add "private": true if that is meant`)
	}
	return prefix, nil
}

// covers reports whether all of a prefix is in one special block.
func covers(prefix netip.Prefix) bool {
	s, ok := find(append(slices.Clone(metadata), special...), prefix.Addr())
	return ok && s.prefix.Bits() <= prefix.Bits() || nat64.Overlaps(prefix) && prefix.Bits() >= nat64.Bits()
}

func addressText(prefix netip.Prefix) string {
	if prefix.IsSingleIP() {
		return prefix.Addr().String()
	}
	return prefix.String()
}

// opens reports whether the rule opens a port, whatever the address. ICMP has no
// ports.
func (r *rule) opens(protocol string, port uint16) bool {
	if !slices.Contains(r.protocols, protocol) {
		return false
	}
	return protocol == ICMP || slices.ContainsFunc(r.ports, func(p Ports) bool { return p.contains(port) })
}

// reaches reports whether the rule may lead to an address of its class: for a
// name, whether it may resolve to it.
func (r *rule) reaches(class Class, addr netip.Addr) bool {
	switch class {
	case Public:
		return true
	case Documentation:
		return r.file.Private || !r.prefix.IsValid()
	case Private:
		return r.file.Private
	case Local:
		return r.file.Private && r.prefix.IsValid() && classOfAll(r.prefix) == Local
	case Metadata:
		return r.file.Private && r.prefix.IsValid() && r.prefix.IsSingleIP() && r.prefix.Addr() == addr
	}
	return false
}

// classOfAll is the class that all addresses of a prefix have, Public when they
// differ.
func classOfAll(prefix netip.Prefix) Class {
	if s, ok := find(special, prefix.Addr()); ok && s.prefix.Bits() <= prefix.Bits() {
		return s.class
	}
	return Public
}

// openness describes what the rule opens, "tcp 80, 443".
func (r *rule) openness() string {
	var ports []string
	for _, p := range r.ports {
		ports = append(ports, p.String())
	}
	var parts []string
	for _, protocol := range r.protocols {
		if protocol != ICMP {
			protocol += " " + strings.Join(ports, ", ")
		}
		parts = append(parts, protocol)
	}
	return strings.Join(parts, " and ")
}
