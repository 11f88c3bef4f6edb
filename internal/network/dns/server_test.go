package dns

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"

	"pyro/internal/network/policy"
	"pyro/internal/network/refusals"
)

// zone is a resolver that knows the names of a test: "A example.com" to texts of
// addresses, or aliases after "->".
type zone map[string]string

func (z zone) Lookup(_ context.Context, q Question) (Answer, error) {
	var a Answer
	name := q.Name
	for range 20 {
		text, ok := z[typeName(q.Type)+" "+name]
		switch {
		case !ok && len(a.Records) == 0:
			return Answer{RCode: dnsmessage.RCodeNameError}, nil
		case text == "fails":
			return Answer{}, errors.New("the servers are on strike")
		}
		h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name + "."), Type: q.Type, Class: dnsmessage.ClassINET, TTL: 60}
		if alias, isAlias := strings.CutPrefix(text, "->"); isAlias {
			h.Type = dnsmessage.TypeCNAME
			a.Records = append(a.Records, dnsmessage.Resource{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(alias + ".")}})
			name = alias
			continue
		}
		for _, field := range strings.Fields(text) {
			a.Records = append(a.Records, dnsmessage.Resource{Header: h, Body: body(q.Type, field)})
		}
		return a, nil
	}
	return a, nil
}

func body(t dnsmessage.Type, text string) dnsmessage.ResourceBody {
	switch t {
	case dnsmessage.TypeA:
		return &dnsmessage.AResource{A: netip.MustParseAddr(text).As4()}
	case dnsmessage.TypeAAAA:
		return &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(text).As16()}
	}
	return &dnsmessage.TXTResource{TXT: []string{text}}
}

// bench is a server with what it told.
type bench struct {
	*Server
	mu      sync.Mutex
	refused []refusals.Event
	failed  []string
}

func newBench(t testing.TB, file string, r Resolver) *bench {
	t.Helper()
	p, err := policy.Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Server: &Server{Policy: p, Resolver: r, Book: new(Book)}}
	b.Refused = func(e refusals.Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.refused = append(b.refused, e)
	}
	b.Failed = func(name string, err error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.failed = append(b.failed, name+": "+err.Error())
	}
	return b
}

// question packs a query, with EDNS if size is not 0.
func question(t testing.TB, typ dnsmessage.Type, name string, size int) []byte {
	t.Helper()
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: 4711, RecursionDesired: true})
	b.StartQuestions()
	if err := b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}); err != nil {
		t.Fatal(err)
	}
	if size > 0 {
		b.StartAdditionals()
		var h dnsmessage.ResourceHeader
		h.SetEDNS0(size, 0, false)
		b.OPTResource(h, dnsmessage.OPTResource{})
	}
	packed, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// ask returns the reply as text: the code and the records.
func (b *bench) ask(t testing.TB, typ dnsmessage.Type, name string) string {
	t.Helper()
	m := unpack(t, b.Answer(t.Context(), question(t, typ, name, 0), false))
	if m.ID != 4711 || !m.Response || !m.RecursionDesired || !m.RecursionAvailable || len(m.Questions) != 1 || m.Questions[0].Name.String() != name {
		t.Errorf("%s: header %+v, questions %v", name, m.Header, m.Questions)
	}
	words := []string{strings.TrimPrefix(m.RCode.String(), "RCode")}
	for _, r := range m.Answers {
		switch body := r.Body.(type) {
		case *dnsmessage.CNAMEResource:
			words = append(words, "->"+body.CNAME.String())
		case *dnsmessage.TXTResource:
			words = append(words, strings.Join(body.TXT, " "))
		case *dnsmessage.PTRResource:
			words = append(words, body.PTR.String())
		default:
			if addr, ok := address(r); ok {
				words = append(words, addr.String())
			}
		}
	}
	return strings.Join(words, " ")
}

func unpack(t testing.TB, reply []byte) dnsmessage.Message {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("reply %x: %v", reply, err)
	}
	return m
}

var names = zone{
	"A example.com":        "93.184.215.14 93.184.215.15",
	"AAAA example.com":     "2606:2800:21f::1",
	"TXT example.com":      "text",
	"A www.example.com":    "->edge.example.net",
	"A edge.example.net":   "203.1.2.3",
	"A rebind.example.com": "127.0.0.1 10.1.2.3 169.254.169.254 93.184.215.14",
	"A lan.example.com":    "10.1.2.3 127.0.0.1 169.254.169.254",
	"A loop.example.com":   "->loop.example.com",
	"A fails.example.com":  "fails",
	"AAAA m.example.com":   "::ffff:10.0.0.1 64:ff9b::a00:1 fe80::1 2002:a00:1::1",
	"A other.example.org":  "93.184.215.14",
}

const allowExample = `{"version": 1, "rules": [
	{"name": "example.com", "records": ["TXT"]}, {"name": "*.example.com"},
	{"name": "lan.example.com", "private": true}]}`

func TestAnswer(t *testing.T) {
	b := newBench(t, allowExample, names)
	for _, tc := range []struct {
		typ        dnsmessage.Type
		name, want string
	}{
		{dnsmessage.TypeA, "example.com.", "Success 93.184.215.14 93.184.215.15"},
		{dnsmessage.TypeA, "EXAMPLE.com.", "Success 93.184.215.14 93.184.215.15"},
		{dnsmessage.TypeAAAA, "example.com.", "Success 2606:2800:21f::1"},
		{dnsmessage.TypeTXT, "example.com.", "Success text"},
		{dnsmessage.TypeTXT, "www.example.com.", "Success"},
		{dnsmessage.TypeMX, "example.com.", "Success"},
		{dnsmessage.TypeALL, "example.com.", "Success"},
		{dnsmessage.TypeA, "www.example.com.", "Success ->edge.example.net. 203.1.2.3"},
		{dnsmessage.TypeA, "edge.example.net.", "NameError"},
		{dnsmessage.TypeA, "rebind.example.com.", "Success 93.184.215.14"},
		{dnsmessage.TypeA, "lan.example.com.", "Success 10.1.2.3"},
		{dnsmessage.TypeA, "loop.example.com.", "Success"},
		{dnsmessage.TypeA, "fails.example.com.", "ServerFailure"},
		{dnsmessage.TypeAAAA, "m.example.com.", "Success"},
		{dnsmessage.TypeA, "nothing.example.com.", "NameError"},
		{dnsmessage.TypeA, "other.example.org.", "NameError"},
		{dnsmessage.TypeA, "10.0.0.1.", "NameError"},
		{dnsmessage.TypeA, "localhost.", "Success 127.0.0.1"},
		{dnsmessage.TypeAAAA, "a.localhost.", "Success ::1"},
		{dnsmessage.TypePTR, "14.215.184.93.in-addr.arpa.", "Success rebind.example.com."},
		{dnsmessage.TypePTR, "1.0.0.10.in-addr.arpa.", "NameError"},
	} {
		if got := b.ask(t, tc.typ, tc.name); got != tc.want {
			t.Errorf("%s %s: %q, want %q", tc.typ, tc.name, got, tc.want)
		}
	}
	for addr, want := range map[string][]string{
		"203.1.2.3":     {"www.example.com"},
		"93.184.215.14": {"rebind.example.com", "example.com"},
		"10.1.2.3":      {"lan.example.com"},
		"127.0.0.1":     nil,
	} {
		if diff := cmp.Diff(want, b.Book.Names(netip.MustParseAddr(addr))); diff != "" {
			t.Errorf("names of %s: %s", addr, diff)
		}
	}
	if !slices.ContainsFunc(b.refused, func(e refusals.Event) bool {
		return e.Name == "rebind.example.com" && e.Address == netip.MustParseAddr("127.0.0.1") && strings.Contains(e.Reason, "loopback")
	}) {
		t.Errorf("refusals %+v", b.refused)
	}
	if len(b.failed) != 1 || !strings.Contains(b.failed[0], "strike") {
		t.Errorf("failures %q", b.failed)
	}
}
