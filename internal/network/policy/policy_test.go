package policy

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

func parse(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

// rules makes an allowlist of the rules.
func rules(t testing.TB, text string) *Policy {
	t.Helper()
	return parse(t, `{"version": 1, "rules": [`+text+`]}`)
}

func TestRoundTrip(t *testing.T) {
	for _, p := range []*Policy{
		Off(), Egress(), Allowlist(),
		parse(t, `{"version": 1, "base": "egress", "note": "n", "rules": [
			{"name": "*.EXAMPLE.com.", "ports": [443, "8000-8100", "22"], "protocols": ["tcp", "udp"], "records": ["txt"], "note": "x"},
			{"address": "10.0.0.0/8", "private": true}, {"address": "2606:2800:21f::1/128"}]}`),
	} {
		first, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		second, err := json.Marshal(parse(t, string(first)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(first), string(second)); diff != "" {
			t.Error(diff)
		}
		third, _ := json.Marshal(parse(t, string(p.Text())))
		if diff := cmp.Diff(string(first), string(third)); diff != "" {
			t.Errorf("as text: %s", diff)
		}
	}
}

func TestText(t *testing.T) {
	const file = `{
  "version": 1,
  "note": "a \"note\": <1, 2>\\",
  "rules": [
    {"name": "*.example.com", "ports": [443, "8000-8100"], "protocols": ["tcp", "udp"], "records": ["TXT"]},
    {"address": "10.0.0.0/8", "private": true, "note": "ours, all"}
  ]
}
`
	if diff := cmp.Diff(file, string(parse(t, file).Text())); diff != "" {
		t.Error(diff)
	}
	for p, want := range map[*Policy]string{
		Off():       "{\n  \"version\": 1,\n  \"base\": \"off\"\n}\n",
		Egress():    "{\n  \"version\": 1,\n  \"base\": \"egress\",\n  \"rules\": []\n}\n",
		Allowlist(): "{\n  \"version\": 1,\n  \"rules\": []\n}\n",
	} {
		if got := string(p.Text()); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		``:                                  "it is empty",
		"  \n":                              "it is empty",
		`{`:                                 "ends in the middle",
		`{"version": 1`:                     "ends in the middle",
		`[]`:                                "cannot be",
		`null`:                              "version is 0",
		`"x"`:                               "cannot be",
		`{}`:                                "version is 0",
		`{"version": 2}`:                    "version is 2",
		`{"version": 1} {}`:                 "behind the end",
		`{"version": 1, "version": 1}`:      "there twice",
		`{"Version": 1}`:                    `field "Version" is unknown`,
		"{\"version\": 1,\n\n\"rule\": []}": `line 3: the field "rule" is unknown`,
		`{"version": 1, // a comment`:       "line 1: invalid character",
		`{"version": 1, "base": "all"}`:     `base "all" is unknown`,
		`{"version": 1, "base": "off", "rules": [{"name": "example.com"}]}`: "base is off",
		`{"version": 1, "rules": [null]}`:                                   "neither a name nor an address",
		`{"version": 1, "rules": [[[[[[[[[[[[]]]]]]]]]]]]}`:                 "nested too deeply",
		"{\"version\": 1, \"note\": \"\xff\"}":                              "not UTF-8",
		strings.Repeat(" ", MaxSize+1):                                      "bytes, at most",
	} {
		refuse(t, text, want)
	}
	for rule, want := range map[string]string{
		`{"name": "example.com", "Ports": [1]}`:           "unknown",
		`{"name": "example.com", "name": "example.org"}`:  "twice",
		`{"name": "example.com", "address": "192.0.2.1"}`: "a name and an address",
		`{"name": ""}`:                                                         "neither",
		`{"name": "."}`:                                                        "empty",
		`{"name": "*"}`:                                                        "every name",
		`{"name": "*."}`:                                                       "empty",
		`{"name": "a*.example.com"}`:                                           "star",
		`{"name": "*.*.example.com"}`:                                          "star",
		`{"name": "example..com"}`:                                             "empty part",
		`{"name": "exa mple.com"}`:                                             "cannot be part",
		`{"name": "-a.example.com"}`:                                           "hyphen",
		`{"name": "https://example.com"}`:                                      "cannot be part",
		`{"name": "example.com:443"}`:                                          "cannot be part",
		`{"name": "bücher.example"}`:                                           "not in ASCII",
		`{"name": "` + strings.Repeat("a", 64) + `.example"}`:                  "64 characters",
		`{"name": "` + strings.Repeat("a.", 127) + `example"}`:                 "at most 253",
		`{"name": "10.1.2.3"}`:                                                 "is an address",
		`{"name": "::1"}`:                                                      "is an address",
		`{"name": "10.1"}`:                                                     "take it for an address",
		`{"name": "a.0x7f"}`:                                                   "take it for an address",
		`{"name": "localhost"}`:                                                "sandbox itself",
		`{"name": "*.localhost"}`:                                              "sandbox itself",
		`{"name": "example.com", "ports": [0]}`:                                "neither a port",
		`{"name": "example.com", "ports": [65536]}`:                            "neither a port",
		`{"name": "example.com", "ports": [-1]}`:                               "neither a port",
		`{"name": "example.com", "ports": [1.5]}`:                              "neither a port",
		`{"name": "example.com", "ports": [1e3]}`:                              "neither a port",
		`{"name": "example.com", "ports": ["2-1"]}`:                            "neither a port",
		`{"name": "example.com", "ports": ["1-2-3"]}`:                          "neither a port",
		`{"name": "example.com", "ports": ["+1"]}`:                             "neither a port",
		`{"name": "example.com", "ports": ["01"]}`:                             "neither a port",
		`{"name": "example.com", "ports": [null]}`:                             "neither a port",
		`{"name": "example.com", "ports": [[1]]}`:                              "neither a port",
		`{"name": "example.com", "ports": 443}`:                                "cannot be",
		`{"name": "example.com", "protocols": ["sctp"]}`:                       "sctp",
		`{"name": "example.com", "protocols": ["tcp", "tcp"]}`:                 "twice",
		`{"name": "example.com", "protocols": ["icmp"], "ports": [1]}`:         "icmp has none",
		`{"name": "example.com", "records": ["ANY"]}`:                          "ANY",
		`{"address": "192.0.2.1", "private": true, "records": ["TXT"]}`:        "records",
		`{"address": "example.com"}`:                                           "neither an address nor a prefix",
		`{"address": "93.184.215.14/8"}`:                                       "bits behind",
		`{"address": "fe80::1%eth0", "private": true}`:                         "zone",
		`{"address": "::ffff:10.0.0.1", "private": true}`:                      "IPv6 form",
		`{"address": "10.0.0.1"}`:                                              "a private network",
		`{"address": "127.0.0.1"}`:                                             "loopback",
		`{"address": "169.254.169.254"}`:                                       "metadata",
		`{"address": "0.0.0.0", "private": true}`:                              "never reached",
		`{"address": "224.0.0.1", "private": true}`:                            "never reached",
		`{"address": "255.255.255.255", "private": true}`:                      "never reached",
		`{"address": "2002:a00:1::/48", "private": true}`:                      "never reached",
		`{"name": "example.com", "note": "` + strings.Repeat("x", 1001) + `"}`: "1001 bytes",
	} {
		refuse(t, `{"version": 1, "rules": [{"name": "fine.example"}, `+rule+`]}`, want)
	}
}

func refuse(t *testing.T, text, want string) {
	t.Helper()
	p, err := Parse([]byte(text))
	if p != nil || api.KindOf(err) != api.KindUsage || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", text[:min(len(text), 100)], err, want)
	}
	if err != nil && strings.Count(err.Error(), "network policy") != 1 {
		t.Errorf("%s: %v", text[:min(len(text), 100)], err)
	}
}

func TestPunycodeHint(t *testing.T) {
	_, err := Parse([]byte(`{"version": 1, "rules": [{"name": "*.Bücher.example"}]}`))
	if hint := api.AsError(err).Hint; !strings.Contains(hint, `"*.xn--bcher-kva.example"`) {
		t.Errorf("hint %q", hint)
	}
}

func TestConnect(t *testing.T) {
	p := rules(t, `
		{"name": "example.com", "ports": [443]}, {"name": "*.example.com", "ports": ["8000-8100"], "protocols": ["tcp", "udp"]},
		{"name": "lan.example.org", "private": true}, {"name": "ping.example.org", "protocols": ["icmp"]},
		{"address": "10.9.0.0/16", "ports": [22], "private": true}, {"address": "93.184.0.0/16", "ports": [25]},
		{"address": "127.0.0.1", "ports": [3000], "private": true}, {"address": "169.254.169.254", "private": true}`)
	for _, tc := range []struct {
		protocol, names, addr string
		want                  bool
		reason                string
	}{
		{"tcp", "example.com", "93.184.215.14:443", true, ""},
		{"tcp", "EXAMPLE.com.", "93.184.215.14:443", true, ""},
		{"tcp", "example.com", "93.184.215.14:80", false, "example.com is open for tcp 443 only"},
		{"udp", "example.com", "93.184.215.14:443", false, "open for tcp 443 only"},
		{"tcp", "", "93.184.215.14:443", false, "93.184.0.0/16 is open for tcp 25 only"},
		{"tcp", "", "8.8.8.8:443", false, "no name that the policy opens was looked up"},
		{"tcp", "other.example", "8.8.8.8:443", false, "no rule of the policy is for the name other.example"},
		{"tcp", "other.example example.com", "8.8.8.8:443", true, ""},
		{"tcp", "a.example.com", "8.8.8.8:443", false, "open for tcp 8000-8100 and udp 8000-8100 only"},
		{"udp", "a.b.example.com", "8.8.8.8:8050", true, ""},
		{"tcp", "notexample.com", "8.8.8.8:8050", false, "no rule"},
		{"tcp", "example.com", "10.1.2.3:443", false, "a private network"},
		{"tcp", "lan.example.org", "10.1.2.3:443", true, ""},
		{"tcp", "lan.example.org", "127.0.0.1:443", false, "the loopback network"},
		{"tcp", "lan.example.org", "169.254.1.1:443", false, "link-local"},
		{"tcp", "lan.example.org", "169.254.169.254:443", true, ""}, // its own rule
		{"tcp", "lan.example.org", "169.254.170.2:443", false, "metadata"},
		{"icmp", "ping.example.org", "8.8.8.8:0", true, ""},
		{"tcp", "ping.example.org", "8.8.8.8:0", false, "open for icmp only"},
		{"tcp", "", "10.9.1.1:22", true, ""},
		{"tcp", "", "10.9.1.1:23", false, "10.9.0.0/16 is open for tcp 22 only"},
		{"tcp", "", "127.0.0.1:3000", true, ""},
		{"tcp", "", "127.0.0.2:3000", false, "loopback"},
		{"tcp", "example.com", "[::ffff:93.184.215.14]:443", false, "IPv6 form"},
		{"tcp", "example.com", "[2606:2800:21f::1%eth0]:443", false, "zone"},
		{"sctp", "example.com", "93.184.215.14:443", false, "sctp is not passed on"},
	} {
		d := p.Connect(tc.protocol, strings.Fields(tc.names), netip.MustParseAddrPort(tc.addr))
		if d.Allowed != tc.want || !strings.Contains(d.Reason, tc.reason) || d.Allowed != (d.Reason == "") {
			t.Errorf("%s %s (%s): %+v, want %t, %q", tc.protocol, tc.addr, tc.names, d, tc.want, tc.reason)
		}
	}
}

// A rule for everything does not mean the host itself.
func TestWideRule(t *testing.T) {
	p := rules(t, `{"address": "0.0.0.0/0", "private": true}, {"address": "::/0", "private": true}`)
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "10.0.0.1": true, "2606::1": true, "fd00::1": true, "198.18.0.1": true,
		"127.0.0.1": false, "169.254.1.1": false, "169.254.169.254": false, "0.0.0.0": false, "255.255.255.255": false, "224.0.0.1": false,
		"::1": false, "::": false, "fe80::1": false, "fd00:ec2::254": false, "168.63.129.16": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false,
	} {
		if d := p.Connect(TCP, nil, netip.AddrPortFrom(netip.MustParseAddr(addr), 80)); d.Allowed != want {
			t.Errorf("%s: %+v", addr, d)
		}
	}
}
