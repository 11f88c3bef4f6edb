package dns

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"pyro/internal/network/policy"
)

// localTTL is the time to live in seconds of what is answered from here.
const localTTL = 60

var loopback = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// local answers what the host is never asked: names of the sandbox itself, and
// the reverse of addresses.
func (s *Server) local(q *query) (result, bool) {
	switch {
	case policy.IsLocalhost(q.name):
		return q.addresses(loopback), true
	case s.isHostname(q.name):
		return q.addresses(s.Addresses), true
	case q.name == "resolver.arpa" || strings.HasSuffix(q.name, ".resolver.arpa"), q.name == "ipv4only.arpa":
		// Questions about the resolver itself, RFC 9462 and RFC 7050.
		return result{rcode: dnsmessage.RCodeNameError}, true
	case strings.HasSuffix(q.name, ".in-addr.arpa"), strings.HasSuffix(q.name, ".ip6.arpa"):
		return s.reverse(q), true
	}
	return result{}, false
}

func (s *Server) isHostname(name string) bool {
	return s.Hostname != "" && name == strings.ToLower(strings.TrimSuffix(s.Hostname, "."))
}

// addresses are those of the type that was asked for.
func (q *query) addresses(all []netip.Addr) result {
	var r result
	for _, addr := range all {
		h := dnsmessage.ResourceHeader{Name: q.question.Name, Class: dnsmessage.ClassINET, TTL: localTTL}
		switch {
		case addr.Is4() && q.question.Type == dnsmessage.TypeA:
			r.records = append(r.records, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: addr.As4()}})
		case addr.Is6() && q.question.Type == dnsmessage.TypeAAAA:
			r.records = append(r.records, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	return r
}

// reverse tells the name of an address that was given out. Other addresses have
// none: the host is not asked, for the question alone can carry text, and what
// names the host's networks have is not the guest's business.
func (s *Server) reverse(q *query) result {
	addr, ok := reverseAddress(q.name)
	if !ok {
		return result{rcode: dnsmessage.RCodeNameError}
	}
	name := ""
	switch {
	case slices.Contains(loopback, addr):
		name = "localhost"
	case s.Hostname != "" && slices.Contains(s.Addresses, addr):
		name = strings.TrimSuffix(s.Hostname, ".")
	default:
		if names := s.Book.Names(addr); len(names) > 0 {
			name = names[0]
		}
	}
	target, err := dnsmessage.NewName(name + ".")
	if name == "" || err != nil {
		return result{rcode: dnsmessage.RCodeNameError}
	}
	if q.question.Type != dnsmessage.TypePTR {
		return result{}
	}
	h := dnsmessage.ResourceHeader{Name: q.question.Name, Class: dnsmessage.ClassINET, TTL: localTTL}
	return result{records: []dnsmessage.Resource{{Header: h, Body: &dnsmessage.PTRResource{PTR: target}}}}
}

// reverseAddress reads 1.2.0.192.in-addr.arpa and the 32 digits of ip6.arpa.
func reverseAddress(name string) (netip.Addr, bool) {
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		labels := strings.Split(rest, ".")
		slices.Reverse(labels)
		addr, err := netip.ParseAddr(strings.Join(labels, "."))
		return addr, err == nil && addr.Is4()
	}
	labels := strings.Split(strings.TrimSuffix(name, ".ip6.arpa"), ".")
	if len(labels) != 32 {
		return netip.Addr{}, false
	}
	var all [16]byte
	for i, label := range labels {
		digit, err := strconv.ParseUint(label, 16, 4)
		if err != nil || len(label) != 1 {
			return netip.Addr{}, false
		}
		all[15-i/2] |= byte(digit) << (i % 2 * 4)
	}
	return netip.AddrFrom16(all), true
}
