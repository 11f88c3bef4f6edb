package policy

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	for _, tc := range []struct {
		pattern, name string
		want          bool
	}{
		{"example.com", "example.com", true},
		{"example.com", "EXAMPLE.COM.", true},
		{"Example.Com.", "example.com", true},
		{"example.com", "www.example.com", false},
		{"example.com", "example.com.evil.example", false},
		{"example.com", "xexample.com", false},
		{"example.com", "example.com..", false},
		{"example.com", "com", false},
		{"*.example.com", "www.example.com", true},
		{"*.example.com", "a.b.c.example.com", true},
		{"*.EXAMPLE.com", "www.example.COM.", true},
		{"*.example.com", "_srv._tcp.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", ".example.com", false},
		{"*.example.com", "*.example.com", false},
		{"*.example.com", "wwwexample.com", false},
		{"*.example.com", "www.example.com.evil.example", false},
		{"*.example.com", "www.example.com\x00.evil.example", false},
		{"*.example.com", "evil.example/.example.com", false},
		{"*.example.com", "b\u00fccher.example.com", false},
		{"*.example.com", "www.\u0435xample.com", false}, // Cyrillic
		{"xn--bcher-kva.example", "XN--BCHER-KVA.example", true},
		{"lan", "lan", true},
		{"*.lan", "nas.lan", true},
	} {
		p := rules(t, `{"name": "`+tc.pattern+`"}`)
		if d := p.Name(tc.name); d.Allowed != tc.want {
			t.Errorf("%q for %q: %+v", tc.pattern, tc.name, d)
		}
		// A connection is judged by the same comparison.
		if d := p.Connect(TCP, []string{tc.name}, netip.MustParseAddrPort("8.8.8.8:443")); d.Allowed != tc.want {
			t.Errorf("%q for a connection to %q: %+v", tc.pattern, tc.name, d)
		}
	}
}

// Egress opens every name, but none that is an address in disguise.
func TestEgressNames(t *testing.T) {
	p := Egress()
	for _, name := range []string{"example.com", "a", "_dmarc.example.com", "1.example.com", "0x.example", "3com.example", "example.c0m"} {
		if d := p.Name(name); !d.Allowed {
			t.Errorf("%q: %+v", name, d)
		}
	}
	for _, name := range []string{"", ".", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "example.0x", "::1", "[::1]", "1.2.3.4.", "a b", "a..b", strings.Repeat("a", 64), strings.Repeat("a.", 130)} {
		if d := p.Name(name); d.Allowed {
			t.Errorf("%q is a name", name)
		}
	}
}

func TestRecords(t *testing.T) {
	p := rules(t, `{"name": "example.com", "records": ["TXT", "srv"]}, {"name": "*.example.com"}, {"name": "a.example.com", "records": ["MX"]}`)
	for _, tc := range []struct {
		name, record string
		want         bool
	}{
		{"example.com", "A", true},
		{"example.com", "CNAME", true},
		{"example.com", "TXT", true},
		{"example.com", "SRV", true},
		{"example.com", "MX", false},
		{"a.example.com", "MX", true}, // one of two rules for it
		{"a.example.com", "TXT", false},
		{"b.example.com", "AAAA", true},
		{"b.example.com", "TXT", false},
		{"example.org", "A", false},
		{"example.org", "TXT", false},
	} {
		if d := p.Record(tc.name, tc.record); d.Allowed != tc.want || (d.Reason == "") != tc.want {
			t.Errorf("%s of %s: %+v", tc.record, tc.name, d)
		}
	}
	for record, want := range map[string]bool{"TXT": true, "HTTPS": true, "ANY": false, "TYPE10": false, "AXFR": false} {
		if d := Egress().Record("example.com", record); d.Allowed != want {
			t.Errorf("%s under egress: %+v", record, d)
		}
	}
}

// A connection that asks for another server than the name that led to it.
func TestSays(t *testing.T) {
	p := rules(t, `{"name": "example.com", "ports": [443]}, {"name": "www.example.com", "ports": [80, 443]},
		{"name": "lan.example.com", "ports": [443], "private": true}, {"address": "9.9.9.9", "ports": [443]}`)
	for _, tc := range []struct {
		name, addr string
		want       bool
	}{
		{"example.com", "8.8.8.8:443", true},
		{"WWW.example.com", "8.8.8.8:443", true}, // two names of one server, both open
		{"example.com", "8.8.8.8:80", false},
		{"other.example", "8.8.8.8:443", false},
		{"8.8.8.8", "8.8.8.8:443", false},
		{"", "8.8.8.8:443", false},
		{"example.com", "10.0.0.1:443", false},
		{"lan.example.com", "10.0.0.1:443", true},
		{"other.example", "9.9.9.9:443", true}, // all of the address is open
		{"", "9.9.9.9:443", true},
	} {
		if d := p.Says(TCP, tc.name, netip.MustParseAddrPort(tc.addr)); d.Allowed != tc.want || (d.Reason == "") != tc.want {
			t.Errorf("%q at %s: %+v", tc.name, tc.addr, d)
		}
	}
	if d := Egress().Says(TCP, "anything", netip.MustParseAddrPort("8.8.8.8:443")); !d.Allowed {
		t.Errorf("under egress: %+v", d)
	}
}

// FuzzName: a canonical name stays what it is, and a wildcard matches only names
// that end in its own.
func FuzzName(f *testing.F) {
	for _, name := range []string{"example.com", "WWW.Example.com.", "*.example.com", "a.example.com\x00", "xn--bcher-kva.example.com", "1.2.3.4", "a..b", "0x1"} {
		f.Add(name)
	}
	p, err := Parse([]byte(`{"version": 1, "rules": [{"name": "*.example.com"}]}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		canonical, err := CanonicalName(name)
		if err != nil {
			if Egress().Name(name).Allowed {
				t.Errorf("%q is no name, and may be looked up", name)
			}
			return
		}
		if again, err := CanonicalName(canonical); err != nil || again != canonical || len(canonical) > maxName {
			t.Errorf("%q, %q, %v", canonical, again, err)
		}
		if _, err := netip.ParseAddr(canonical); err == nil {
			t.Errorf("%q is an address", canonical)
		}
		if p.Name(name).Allowed != strings.HasSuffix(canonical, ".example.com") {
			t.Errorf("%q", name)
		}
	})
}

// FuzzParse: what is read is written and read again as the same, and never opens
// what no rule can.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		`{"version": 1}`, `{"version": 1, "base": "egress"}`, `{"version": 1, "base": "off"}`,
		`{"version": 1, "note": "n", "rules": [{"name": "*.example.com", "ports": [443, "8000-8100"], "protocols": ["tcp", "udp"], "records": ["TXT"], "private": true, "note": "x"}]}`,
		`{"version": 1, "rules": [{"address": "10.0.0.0/8", "private": true}, {"address": "::/0", "protocols": ["icmp"]}]}`,
		`{"version": 1, "rules": [{"address": "127.0.0.1", "private": true}, {"address": "169.254.169.254", "private": true}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			refuse(t, string(data), "")
			return
		}
		first, err := p.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		q, err := Parse(first)
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if second, _ := q.MarshalJSON(); string(second) != string(first) {
			t.Errorf("%s\n%s", first, second)
		}
		if third, err := Parse(p.Text()); err != nil {
			t.Errorf("%s: %v", p.Text(), err)
		} else if again, _ := third.MarshalJSON(); string(again) != string(first) {
			t.Errorf("%s\n%s", first, again)
		}
		for _, text := range []string{"0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1"} {
			if connects(p, netip.MustParseAddr(text)) {
				t.Errorf("%s opens %s", first, text)
			}
		}
	})
}

func BenchmarkConnect(b *testing.B) {
	var list []string
	for i := range 200 {
		list = append(list, `{"name": "*.n`+strings.Repeat("x", i%50+1)+`.example"}`)
	}
	p := rules(b, strings.Join(list, ",")+`, {"name": "example.com"}`)
	addr := netip.MustParseAddrPort("93.184.215.14:443")
	for b.Loop() {
		if !p.Connect(TCP, []string{"other.example", "example.com"}, addr).Allowed {
			b.Fatal("refused")
		}
	}
}
