package refusals

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/internal/network/policy"
)

func parse(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// events are written as "dns NAME RECORD [ADDRESS]" or "tcp ADDRESS:PORT [NAME]".
func events(t testing.TB, texts ...string) []Event {
	t.Helper()
	var list []Event
	for i, text := range texts {
		f := append(strings.Fields(text), "")
		e := Event{Protocol: f[0], Count: int64(i + 1), Reason: text}
		if e.Protocol == DNS {
			e.Name, e.Record = f[1], f[2]
			if f[3] != "" {
				e.Address = netip.MustParseAddr(f[3])
			}
		} else {
			to := netip.MustParseAddrPort(f[1])
			e.Address, e.Port, e.Name = to.Addr(), to.Port(), f[2]
		}
		list = append(list, e)
	}
	return list
}

func TestSuggest(t *testing.T) {
	const guess = "; the ports are a guess"
	for _, tc := range []struct {
		name, current string
		private       bool
		events        []string
		want          []policy.Rule
		left          int
	}{
		{
			name: "names before addresses", current: `{"version": 1}`,
			events: []string{"tcp 8.8.8.8:443", "dns www.example.com A", "dns WWW.example.com. AAAA", "tcp 8.8.4.4:8080 example.com", "tcp 8.8.4.4:8081 example.com", "udp 8.8.4.4:53 example.com"},
			want: []policy.Rule{
				{Name: "example.com", Ports: []policy.Ports{{First: 8080, Last: 8081}}, Note: "was refused: connected to 15 times"},
				{Name: "example.com", Ports: []policy.Ports{{First: 53, Last: 53}}, Protocols: []string{"udp"}, Note: "was refused: connected to 15 times"},
				{Name: "www.example.com", Note: "was refused: looked up 5 times" + guess},
				{Address: "8.8.8.8", Ports: []policy.Ports{{First: 443, Last: 443}}, Note: "was refused: connected to once"},
			},
		},
		{
			name: "records", current: `{"version": 1, "note": "mine", "rules": [{"name": "example.com"}]}`,
			events: []string{"dns example.com TXT", "dns example.com SRV", "dns example.com ANY", "dns example.com TYPE10"},
			want: []policy.Rule{
				{Name: "example.com"},
				{Name: "example.com", Records: []string{"SRV", "TXT"}, Note: "was refused: looked up 3 times" + guess},
			},
			left: 2,
		},
		{
			name: "private addresses not unasked", current: `{"version": 1, "base": "egress"}`,
			events: []string{"tcp 10.0.0.1:443", "tcp 10.0.0.2:443 lan.example.com", "tcp 169.254.169.254:80", "tcp 127.0.0.1:80", "dns lan.example.com A 10.0.0.1", "icmp 8.8.8.8:0", "tcp 255.255.255.255:80"},
			left:   7,
		},
		{
			name: "private addresses", current: `{"version": 1, "base": "egress"}`, private: true,
			events: []string{"tcp 10.0.0.1:443", "dns lan.example.com A 10.0.0.1", "tcp 10.0.0.2:22 lan.example.com", "tcp 169.254.169.254:80", "tcp 127.0.0.1:80 rebind.example.com", "tcp 0.0.0.0:80", "tcp 224.0.0.1:80"},
			want: []policy.Rule{
				{Name: "lan.example.com", Ports: []policy.Ports{{First: 22, Last: 22}}, Private: true, Note: "was refused: looked up twice, connected to 3 times"},
				{Address: "10.0.0.1", Ports: []policy.Ports{{First: 443, Last: 443}}, Private: true, Note: "was refused: connected to once"},
				{Address: "127.0.0.1", Ports: []policy.Ports{{First: 80, Last: 80}}, Private: true, Note: "was refused: connected to 5 times"},
				{Address: "169.254.169.254", Ports: []policy.Ports{{First: 80, Last: 80}}, Private: true, Note: "was refused: connected to 4 times"},
			},
			left: 2,
		},
		{
			name: "no names", current: `{"version": 1, "base": "off"}`,
			events: []string{"dns 10.0.0.1 A", "dns localhost TXT", "dns b\x1bad.example A", "dns a..b A"},
			left:   4,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := Suggest(parse(t, tc.current), events(t, tc.events...), tc.private)
			if diff := cmp.Diff(tc.want, s.Policy.Rules(), compare); diff != "" {
				t.Error(diff)
			}
			if len(s.Left) != tc.left {
				t.Errorf("left %+v", s.Left)
			}
			if s.Policy.Base() == policy.BaseOff || s.Policy.Note() != parse(t, tc.current).Note() {
				t.Errorf("base %s, note %q", s.Policy.Base(), s.Policy.Note())
			}
		})
	}
}

// Whatever was refused, the suggestion is a policy that can be read, that lets pass
// all that is not left, and that opens no address beyond the internet unasked.
func TestSuggestAnything(t *testing.T) {
	names := []string{"", "a.example.com", "b.example.com", "x.a.example.com", "lan", "bad name", "10.1", "xn--bcher-kva.example"}
	addrs := []string{"8.8.8.8", "1.1.1.1", "10.0.0.1", "127.0.0.1", "169.254.169.254", "0.0.0.0", "2606::1", "fd00::1", "::1", "::ffff:1.2.3.4", "2002::1"}
	records := []string{"A", "AAAA", "CNAME", "TXT", "SRV", "ANY", "TYPE999", ""}
	bases := []string{`{"version": 1}`, `{"version": 1, "base": "egress"}`, `{"version": 1, "rules": [{"name": "*.example.com", "ports": [22]}, {"address": "10.0.0.0/8", "private": true}]}`}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		pick := func(from []string) string { return from[r.IntN(len(from))] }
		current := parse(t, pick(bases))
		var list []Event
		for range r.IntN(200) {
			e := Event{Protocol: pick([]string{DNS, "tcp", "udp", "icmp", Others}), Name: pick(names), Count: 1}
			if e.Protocol == DNS {
				e.Record = pick(records)
			}
			if e.Protocol != DNS || r.IntN(3) == 0 {
				e.Address = netip.MustParseAddr(pick(addrs))
			}
			if e.Protocol == "tcp" || e.Protocol == "udp" {
				e.Port = uint16(r.IntN(1000))
			}
			if !allows(current, e) {
				list = append(list, e)
			}
		}
		private := r.IntN(2) == 0
		s := Suggest(current, list, private)
		left := map[key]bool{}
		for _, e := range s.Left {
			left[e.key()] = true
		}
		for _, e := range list {
			if !left[e.key()] && !allows(s.Policy, e) {
				t.Errorf("seed %d: still refused: %+v", seed, e)
			}
			if !private && e.Address.IsValid() && s.Policy.Class(e.Address) != policy.Public && allows(s.Policy, e) &&
				!current.Connect("tcp", nil, netip.AddrPortFrom(e.Address, 80)).Allowed {
				t.Errorf("seed %d: opened unasked: %+v", seed, e)
			}
		}
		data, err := json.Marshal(s.Policy)
		if err != nil {
			t.Fatal(err)
		}
		parse(t, string(data))
	}
}

// What was refused because it is the host's own is private, though its address is
// one of the internet.
func TestSuggestOwn(t *testing.T) {
	own := netip.MustParseAddr("8.8.8.8")
	current := policy.Egress().WithHost(func(addr netip.Addr) bool { return addr == own })
	list := events(t, "tcp 8.8.8.8:80", "dns me.example.com A 8.8.8.8")
	if s := Suggest(current, list, false); len(s.Left) != 2 || len(s.Policy.Rules()) != 0 {
		t.Errorf("%+v, left %+v", s.Policy.Rules(), s.Left)
	}
	s := Suggest(current, list, true)
	if rules := s.Policy.Rules(); len(s.Left) != 0 || len(rules) != 2 || !rules[0].Private || !rules[1].Private {
		t.Errorf("%+v, left %+v", rules, s.Left)
	}
}

// More than a policy can hold.
func TestSuggestTooMuch(t *testing.T) {
	var list []Event
	for i := range 3000 {
		list = append(list, Event{Protocol: DNS, Name: fmt.Sprintf("n%d.example.com", i), Record: "A", Count: 1})
	}
	for i := range 200 {
		list = append(list, Event{Protocol: "tcp", Name: "a.example.com", Address: netip.MustParseAddr("8.8.8.8"), Port: uint16(i*2 + 1), Count: 1})
	}
	s := Suggest(policy.Allowlist(), list, false)
	if n := len(s.Policy.Rules()); n != policy.MaxRules || len(s.Left) < 2000 {
		t.Errorf("%d rules, %d left", n, len(s.Left))
	}
}
