package policy

import (
	"encoding/binary"
	"net/netip"
)

// Class says how far an address is from the open internet, and so what it takes
// to reach it.
type Class int

// The classes, from open to closed.
const (
	// Public addresses are the internet's.
	Public Class = iota
	// Documentation addresses are nobody's: neither the internet nor a private
	// network has them. Where the host's resolver answers with one, whoever runs
	// the host has put something there, as laboratories and build farms do that
	// hand out a proxy's address for every name. So a name may lead to one, and by
	// itself it is closed as a private one is.
	Documentation
	// Private addresses are of networks that the internet does not reach. A rule
	// with "private" opens them, for a name or an address.
	Private
	// Local addresses mean the host itself or its own link. Only a rule for an
	// address inside that range opens them, with "private".
	Local
	// Metadata addresses are where clouds hand out credentials. Only a rule for
	// that very address opens them, with "private".
	Metadata
	// Never are addresses that no connection from a sandbox can mean.
	Never
)

// block is a range of special addresses.
type block struct {
	prefix netip.Prefix
	class  Class
	what   string
}

func b(prefix string, class Class, what string) block {
	return block{netip.MustParsePrefix(prefix), class, what}
}

// metadata are the addresses under which clouds tell a machine about itself:
// user data, keys, tokens of its role. They are looked at before anything else.
var metadata = []block{
	b("169.254.169.254/32", Metadata, "the metadata address of most clouds"),
	b("169.254.169.253/32", Metadata, "the resolver of Amazon's clouds"),
	b("169.254.169.123/32", Metadata, "the clock of Amazon's clouds"),
	b("169.254.170.2/32", Metadata, "the metadata address of Amazon's containers"),
	b("169.254.170.23/32", Metadata, "the metadata address of Amazon's Kubernetes"),
	b("169.254.42.42/32", Metadata, "the metadata address of Scaleway's cloud"),
	b("169.254.0.23/32", Metadata, "the metadata address of Tencent's cloud"),
	b("168.63.129.16/32", Metadata, "the metadata address of Microsoft's cloud"),
	b("192.0.0.192/32", Metadata, "the metadata address of Oracle's cloud"),
	b("100.100.100.200/32", Metadata, "the metadata address of Alibaba's cloud"),
	b("fd00:ec2::/32", Metadata, "a metadata address of Amazon's clouds"),
	b("fd20:ce::254/128", Metadata, "the metadata address of Google's cloud"),
	b("fd00:42::42/128", Metadata, "the metadata address of Scaleway's cloud"),
	b("fe80::a9fe:a9fe/128", Metadata, "the metadata address of OpenStack"),
}

// special are the blocks of the IANA special-purpose address registries (RFC
// 6890 and its updates) and of the multicast registries. The first that holds an
// address counts, so smaller blocks come before larger ones.
var special = []block{
	b("0.0.0.0/8", Never, "an address of no host, which means the host itself"),
	b("10.0.0.0/8", Private, "a private network"),
	b("100.64.0.0/10", Private, "a provider's private network"),
	b("127.0.0.0/8", Local, "the loopback network"),
	b("169.254.0.0/16", Local, "a link-local address"),
	b("172.16.0.0/12", Private, "a private network"),
	b("192.0.0.0/24", Private, "reserved for protocols"),
	b("192.0.2.0/24", Documentation, "reserved for documentation"),
	b("192.31.196.0/24", Private, "the sink of reverse look-ups"),
	b("192.52.193.0/24", Private, "a multicast relay"),
	b("192.88.99.0/24", Never, "a relay of 6to4"),
	b("192.168.0.0/16", Private, "a private network"),
	b("192.175.48.0/24", Private, "the sink of reverse look-ups"),
	b("198.18.0.0/15", Private, "reserved for benchmarks"),
	b("198.51.100.0/24", Documentation, "reserved for documentation"),
	b("203.0.113.0/24", Documentation, "reserved for documentation"),
	b("224.0.0.0/4", Never, "a multicast address"),
	b("255.255.255.255/32", Never, "the broadcast address"),
	b("240.0.0.0/4", Private, "reserved for later"),

	b("::1/128", Local, "the loopback address"),
	b("::/128", Never, "the unspecified address, which means the host itself"),
	b("::ffff:0:0/96", Never, "an IPv4 address in IPv6 form"),
	b("::/96", Never, "an IPv4 address in IPv6 form"),
	b("::ffff:0:0:0/96", Never, "an IPv4 address in translated form"),
	b("64:ff9b:1::/48", Local, "a private translation of IPv4 addresses"),
	b("100::/64", Private, "a sink"),
	b("100:0:0:1::/64", Private, "a sink"),
	b("2001::/32", Never, "a Teredo address, which stands for an IPv4 address"),
	b("2001::/23", Private, "reserved for protocols"),
	b("2001:db8::/32", Documentation, "reserved for documentation"),
	b("2002::/16", Never, "a 6to4 address, which stands for an IPv4 address"),
	b("2620:4f:8000::/48", Private, "the sink of reverse look-ups"),
	b("3fff::/20", Documentation, "reserved for documentation"),
	b("5f00::/16", Private, "reserved for segment routing"),
	b("fc00::/7", Private, "a private network"),
	b("fe80::/10", Local, "a link-local address"),
	b("fec0::/10", Private, "a site-local address"),
	b("ff00::/8", Never, "a multicast address"),
}

var (
	// unicast is all of IPv6 that has been given out for the internet.
	unicast = netip.MustParsePrefix("2000::/3")
	// nat64 stands for all of IPv4 (RFC 6052).
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

// Classify tells the class of an address and, unless it is public, what it is, to
// be read after "is". An IPv4 address in IPv6 form is not unmapped: no packet of
// a guest carries one.
func Classify(addr netip.Addr) (Class, string) {
	switch {
	case !addr.IsValid():
		return Never, "not an address"
	case addr.Zone() != "":
		return Never, "an address with a zone, which names an interface of the host"
	}
	if found, ok := find(metadata, addr); ok {
		return found.class, found.what
	}
	if nat64.Contains(addr) {
		return embedded(addr, "the translation of an address that is ")
	}
	if found, ok := find(special, addr); ok {
		return found.class, found.what
	}
	switch {
	case addr.Is4():
		return Public, ""
	case !unicast.Contains(addr):
		return Private, "not in use on the internet"
	case isISATAP(addr):
		return embedded(addr, "a tunnel to an address that is ")
	}
	return Public, ""
}

// embedded classifies an address by the IPv4 address in its last four bytes. One
// that stands for the host itself or for metadata is never reached that way: who
// means it names it.
func embedded(addr netip.Addr, prefix string) (Class, string) {
	class, what := Classify(lastFour(addr))
	switch class {
	case Public:
		return Public, ""
	case Documentation, Private:
		return Private, prefix + what
	}
	return Never, prefix + what
}

func lastFour(addr netip.Addr) netip.Addr {
	all := addr.As16()
	return netip.AddrFrom4([4]byte(all[12:]))
}

// isISATAP knows addresses that end in an IPv4 address by their interface
// identifier (RFC 5214, section 6.1); the two are those without and with the bit
// for a globally unique IPv4 address.
func isISATAP(addr netip.Addr) bool {
	all := addr.As16()
	id := binary.BigEndian.Uint32(all[8:12])
	return id == 0x00005efe || id == 0x02005efe
}

func find(blocks []block, addr netip.Addr) (block, bool) {
	for _, s := range blocks {
		if s.prefix.Contains(addr) {
			return s, true
		}
	}
	return block{}, false
}
