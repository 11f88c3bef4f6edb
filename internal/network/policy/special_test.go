package policy

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// registries are the IANA registries of special-purpose addresses (IPv4, IPv6) and
// of multicast, and what else a sandbox must not reach unless that is meant. The
// blocks are written down here a second time, from the registries and not from the
// code.
var registries = []string{
	// iana-ipv4-special-registry
	"0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32", "192.0.0.170/32", "192.0.0.171/32",
	"192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.88.99.2/32", "192.168.0.0/16",
	"192.175.48.0/24", "198.18.0.0/15", "240.0.0.0/4", "255.255.255.255/32",
	// multicast
	"224.0.0.0/4", "224.0.0.0/24", "239.255.255.250/32",
	// iana-ipv6-special-registry
	"::1/128", "::/128", "::ffff:0:0/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001::/32",
	"2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:2::/48", "2001:3::/32", "2001:4:112::/48", "2001:10::/28",
	"2001:20::/28", "2001:30::/28", "2002::/16", "2620:4f:8000::/48", "5f00::/16",
	"fc00::/7", "fe80::/10",
	// older, and what was never given out
	"fec0::/10", "::/96", "::ffff:0:0:0/96", "ff00::/8", "ff02::1/128", "4000::/3", "8000::/2", "c000::/3", "e000::/4", "f000::/5",
	"200::/7", "400::/6", "800::/5", "1000::/4",
	// metadata
	"169.254.169.254/32", "169.254.170.2/32", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32",
	"fd00:ec2::254/128", "fd20:ce::254/128", "fe80::a9fe:a9fe/128",
}

// documentation are the blocks of the registries that are in nobody's network, and
// that only a name may lead to.
var documentation = []string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"}

// ordinary are neighbours of the blocks, and well-known servers.
var ordinary = []string{
	"1.0.0.0", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
	"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.167.255.255",
	"192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255",
	"168.63.129.15", "168.63.129.17", "2000::1", "2001:200::1", "2001:4860:4860::8888", "2606:4700:4700::1111", "2a00::1", "3ffe::1", "2003::",
	"64:ff9b::808:808", "2a00::5efe:808:808",
}

// within lists addresses of a block: its first, its last and some others.
func within(prefix netip.Prefix, r *rand.Rand) []netip.Addr {
	first := prefix.Masked().Addr()
	last := first.As16()
	bits := prefix.Bits()
	if first.Is4() {
		bits += 96
	}
	for i := bits; i < 128; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	addrs := []netip.Addr{first, netip.AddrFrom16(last)}
	for range 50 {
		some := first.As16()
		for i := bits; i < 128; i++ {
			if r.IntN(2) == 1 {
				some[i/8] |= 0x80 >> (i % 8)
			}
		}
		addrs = append(addrs, netip.AddrFrom16(some))
	}
	if first.Is4() {
		for i := range addrs {
			addrs[i] = addrs[i].Unmap()
		}
	}
	return addrs
}

// embeddings are the IPv6 addresses that stand for an IPv4 address.
func embeddings(v4 netip.Addr) map[string]netip.Addr {
	four := v4.As4()
	number := binary.BigEndian.Uint32(four[:])
	make6 := func(prefix string, at int, value uint32) netip.Addr {
		all := netip.MustParseAddr(prefix).As16()
		binary.BigEndian.PutUint32(all[at:], value)
		return netip.AddrFrom16(all)
	}
	return map[string]netip.Addr{
		"mapped":            make6("::ffff:0:0", 12, number),
		"compatible":        make6("::", 12, number),
		"translated":        make6("::ffff:0:0:0", 12, number),
		"NAT64":             make6("64:ff9b::", 12, number),
		"private NAT64":     make6("64:ff9b:1::", 12, number),
		"private NAT64 /48": make6("64:ff9b:1::", 6, number),
		"6to4":              make6("2002::1", 2, number),
		"Teredo server":     make6("2001::1", 4, number),
		"Teredo client":     make6("2001:0:808:808::", 12, ^number),
		"ISATAP":            make6("2a00::5efe:0:0", 12, number),
		"global ISATAP":     make6("2a00::200:5efe:0:0", 12, number),
		"link-local ISATAP": make6("fe80::5efe:0:0", 12, number),
	}
}

// connects reports whether the policy lets anything through to the address, by raw
// address or under a name.
func connects(p *Policy, addr netip.Addr) bool {
	for _, protocol := range protocols {
		for _, names := range [][]string{nil, {"example.com"}} {
			if p.Connect(protocol, names, netip.AddrPortFrom(addr, 443)).Allowed {
				return true
			}
		}
	}
	return p.Resolve("example.com", addr).Allowed
}

// TestSpecial: neither egress, nor a rule for a name, nor one for a wide network
// reaches a special address, nor one that stands for it.
func TestSpecial(t *testing.T) {
	policies := map[string]*Policy{
		"egress":    Egress(),
		"allowlist": rules(t, `{"name": "example.com", "protocols": ["tcp", "udp"]}, {"address": "0.0.0.0/0"}, {"address": "::/0"}`),
		"both":      parse(t, `{"version": 1, "base": "egress", "rules": [{"name": "example.com"}, {"address": "0.0.0.0/1"}, {"address": "128.0.0.0/1"}, {"address": "2000::/3"}]}`),
	}
	r := rand.New(rand.NewPCG(1, 2))
	for name, p := range policies {
		for _, block := range registries {
			for _, addr := range within(netip.MustParsePrefix(block), r) {
				if connects(p, addr) {
					t.Errorf("%s reaches %s of %s", name, addr, block)
				}
				if addr.Is4() {
					for how, six := range embeddings(addr) {
						if connects(p, six) {
							t.Errorf("%s reaches %s, the %s form of %s of %s", name, six, how, addr, block)
						}
					}
				}
				if addr.Is6() && connects(p, addr.WithZone("eth0")) {
					t.Errorf("%s reaches %s on an interface of the host", name, addr)
				}
			}
		}
		for _, text := range ordinary {
			if !connects(p, netip.MustParseAddr(text)) {
				t.Errorf("%s does not reach %s", name, text)
			}
			if connects(Off(), netip.MustParseAddr(text)) || connects(Allowlist(), netip.MustParseAddr(text)) || connects(new(Policy), netip.MustParseAddr(text)) {
				t.Errorf("nothing is open, but %s is", text)
			}
		}
		if connects(p, netip.Addr{}) {
			t.Errorf("%s reaches no address", name)
		}
	}
}

// With "private" a name leads to private networks, and still not to the host
// itself, its link or metadata.
func TestPrivateNames(t *testing.T) {
	p := rules(t, `{"name": "example.com", "private": true}`)
	r := rand.New(rand.NewPCG(3, 4))
	for _, block := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/8", "198.18.0.0/15", "203.0.113.0/24"} {
		for _, addr := range within(netip.MustParsePrefix(block), r) {
			if !connects(p, addr) {
				t.Errorf("%s of %s is closed", addr, block)
			}
		}
	}
	for _, block := range []string{"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "::1/128", "fe80::/10", "ff00::/8", "::ffff:0:0/96", "168.63.129.16/32", "100.100.100.200/32", "fd00:ec2::/32"} {
		for _, addr := range within(netip.MustParsePrefix(block), r) {
			if connects(p, addr) {
				t.Errorf("%s of %s is open", addr, block)
			}
		}
	}
	for _, local := range []string{"127.0.0.1", "169.254.169.254", "169.254.1.1"} {
		for how, six := range embeddings(netip.MustParseAddr(local)) {
			if connects(p, six) {
				t.Errorf("the %s form of %s is open", how, local)
			}
		}
	}
}

// An address of the internet that is the host's own counts as private.
func TestWithHost(t *testing.T) {
	own := netip.MustParseAddr("8.8.8.8")
	has := func(addr netip.Addr) bool { return addr == own }
	if p := Egress().WithHost(has); connects(p, own) || connects(p, netip.MustParseAddr("64:ff9b::808:808")) || !connects(p, netip.MustParseAddr("8.8.8.9")) {
		t.Error("egress")
	}
	if p := rules(t, `{"name": "example.com"}`).WithHost(has); connects(p, own) {
		t.Error("a rule for a name")
	}
	if p := rules(t, `{"name": "example.com", "private": true}`).WithHost(has); !connects(p, own) {
		t.Error("a rule for a name, with private")
	}
	if !connects(Egress(), own) {
		t.Error("WithHost changed another policy")
	}
}

func TestDocumentationAddresses(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	name := []string{"example.com"}
	for _, block := range documentation {
		for _, addr := range within(netip.MustParsePrefix(block), r) {
			to := netip.AddrPortFrom(addr, 443)
			for what, p := range map[string]*Policy{
				"egress":    Egress(),
				"allowlist": rules(t, `{"name": "example.com"}, {"address": "0.0.0.0/0"}, {"address": "::/0"}`),
			} {
				if p.Connect(TCP, nil, to).Allowed || p.Connect(TCP, []string{"not a name"}, to).Allowed {
					t.Errorf("%s reaches %s by itself", what, addr)
				}
				if !p.Resolve("example.com", addr).Allowed || !p.Connect(TCP, name, to).Allowed {
					t.Errorf("%s does not reach %s by a name", what, addr)
				}
				own := p.WithHost(func(a netip.Addr) bool { return a == addr })
				if own.Resolve("example.com", addr).Allowed || own.Connect(TCP, name, to).Allowed {
					t.Errorf("%s reaches the host's own %s", what, addr)
				}
			}
			if Allowlist().Connect(TCP, name, to).Allowed || Off().Connect(TCP, name, to).Allowed {
				t.Errorf("%s is open under a name that is not", addr)
			}
			if addr.Is4() {
				for how, six := range embeddings(addr) {
					if connects(Egress(), six) {
						t.Errorf("egress reaches %s, the %s form of %s", six, how, addr)
					}
				}
			}
		}
	}
}

func TestClassesAreExplained(t *testing.T) {
	for _, list := range [][]block{metadata, special} {
		for _, s := range list {
			if class, what := Classify(s.prefix.Addr()); class == Public || what == "" {
				t.Errorf("%s: class %d, %q", s.prefix, class, what)
			}
			if s.prefix != s.prefix.Masked() {
				t.Errorf("%s has bits behind its length", s.prefix)
			}
		}
	}
}

// FuzzClassify: what the standard library calls special is never public.
func FuzzClassify(f *testing.F) {
	for _, text := range append(registries, "8.8.8.8/32", "2606::1/128") {
		f.Add(netip.MustParsePrefix(text).Addr().AsSlice())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		addr, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		class, what := Classify(addr)
		bad := !addr.IsGlobalUnicast() || addr.IsPrivate() || addr.Is4In6()
		if class == Public && bad || (class == Public) != (what == "") {
			t.Errorf("%s: class %d, %q", addr, class, what)
		}
	})
}
