package dns

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// ede returns the extended error of a reply.
func ede(t testing.TB, m dnsmessage.Message) string {
	t.Helper()
	for _, r := range m.Additionals {
		if opt, ok := r.Body.(*dnsmessage.OPTResource); ok && len(opt.Options) > 0 {
			return fmt.Sprintf("%d %s", binary.BigEndian.Uint16(opt.Options[0].Data), opt.Options[0].Data[2:])
		}
	}
	return ""
}

func TestExtendedErrors(t *testing.T) {
	b := newBench(t, allowExample, names)
	for _, tc := range []struct {
		typ        dnsmessage.Type
		name, want string
	}{
		{dnsmessage.TypeA, "example.com.", ""},
		{dnsmessage.TypeA, "other.example.org.", "15 no rule of the policy is for the name other.example.org"},
		{dnsmessage.TypeTXT, "www.example.com.", "15 no rule opens TXT records of www.example.com"},
		{dnsmessage.TypeA, "rebind.example.com.", "17 rebind.example.com leads to 169.254.169.254, which is the metadata address"},
		{dnsmessage.TypeA, "fails.example.com.", "23 the servers are on strike"},
	} {
		m := unpack(t, b.Answer(t.Context(), question(t, tc.typ, tc.name, 1232), false))
		if got := ede(t, m); !strings.HasPrefix(got, tc.want) || tc.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
		if len(m.Additionals) != 1 {
			t.Errorf("%s: %d additional records for a query with EDNS", tc.name, len(m.Additionals))
		}
	}
	if m := unpack(t, b.Answer(t.Context(), question(t, dnsmessage.TypeA, "other.example.org.", 0), false)); len(m.Additionals) != 0 {
		t.Error("an OPT record for a query without EDNS")
	}
}

// Queries that are not as they should be.
func TestStrangeQueries(t *testing.T) {
	b := newBench(t, allowExample, names)
	plain := question(t, dnsmessage.TypeA, "example.com.", 0)
	edns := question(t, dnsmessage.TypeA, "example.com.", 1232)
	with := func(data []byte, at int, bytes ...byte) []byte {
		changed := append([]byte(nil), data...)
		copy(changed[at:], bytes)
		return changed
	}
	const silence = -1
	for _, tc := range []struct {
		name  string
		query []byte
		want  int
	}{
		{"as it should be", plain, 0},
		{"nothing", nil, silence},
		{"less than a header", plain[:11], silence},
		{"a reply", with(plain, 2, 0x80), silence},
		{"a header only", plain[:12], 1},
		{"half a question", plain[:20], 1},
		{"no question", with(plain[:12], 4, 0, 0), 1},
		{"two questions", with(append(append([]byte(nil), plain...), plain[12:]...), 4, 0, 2), 1},
		{"a second question that is not there", with(plain, 4, 0, 2), 1},
		{"65535 questions", with(plain, 4, 0xff, 0xff), 1},
		{"an update", with(plain, 2, 5<<3), 4},
		{"a cut query", with(plain, 2, 2), 1},
		{"an answer in it", with(plain, 6, 0, 1), 1},
		{"an authority in it", with(plain, 8, 0, 1), 1},
		{"class CHAOS", with(plain, len(plain)-2, 0, 3), 5},
		{"a pointer to itself", with(plain, 12, 0xc0, 12), 1},
		{"a label of 64 bytes", with(plain, 12, 64), 1},
		{"EDNS version 1", with(edns, len(edns)-5, 1), 16},
		{"EDNS cut off", edns[:len(edns)-3], 1},
		{"EDNS with text behind", append(append([]byte(nil), edns...), "text"...), 0},
		{"EDNS size 0", with(edns, len(edns)-8, 0, 0), 0},
		{"two EDNS", with(append(append([]byte(nil), edns...), edns[len(edns)-11:]...), 10, 0, 2), 1},
	} {
		for _, overTCP := range []bool{false, true} {
			reply := b.Answer(t.Context(), tc.query, overTCP)
			if (reply == nil) != (tc.want == silence) {
				t.Errorf("%s: reply %x", tc.name, reply)
			}
			if reply == nil {
				continue
			}
			m := unpack(t, reply)
			rcode := m.RCode
			for _, r := range m.Additionals {
				rcode = r.Header.ExtendedRCode(rcode)
			}
			if m.ID != 4711 || !m.Response || int(rcode) != tc.want {
				t.Errorf("%s: %+v, want code %d", tc.name, m.Header, tc.want)
			}
		}
	}
}

// many resolves every name to as many addresses as its first label says.
type many struct{}

func (many) Lookup(_ context.Context, q Question) (Answer, error) {
	var n int
	fmt.Sscanf(q.Name, "n%d.", &n)
	var a Answer
	for i := range n {
		h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(q.Name + "."), Type: q.Type, Class: dnsmessage.ClassINET, TTL: 60}
		if q.Type == dnsmessage.TypeTXT {
			a.Records = append(a.Records, dnsmessage.Resource{Header: h, Body: &dnsmessage.TXTResource{TXT: []string{strings.Repeat("x", 255), strings.Repeat("y", 255)}}})
			continue
		}
		a.Records = append(a.Records, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: [4]byte{8, 8, byte(i >> 8), byte(i)}}})
	}
	return a, nil
}

func TestSizes(t *testing.T) {
	b := newBench(t, `{"version": 1, "base": "egress"}`, many{})
	for _, tc := range []struct {
		typ       dnsmessage.Type
		records   int
		edns      int
		overTCP   bool
		want      int // records
		truncated bool
	}{
		{dnsmessage.TypeA, 20, 0, false, 20, false},
		{dnsmessage.TypeA, 60, 0, false, 0, true},
		{dnsmessage.TypeA, 60, 1, false, 0, true}, // less than what everybody takes
		{dnsmessage.TypeA, 60, 1232, false, 60, false},
		{dnsmessage.TypeA, 60, 0, true, 60, false},
		{dnsmessage.TypeA, 500, 0, true, maxRecords, false},
		{dnsmessage.TypeTXT, 30, 65535, false, 0, true}, // 15 kB
		{dnsmessage.TypeTXT, 30, 0, true, 30, false},
	} {
		query := question(t, tc.typ, fmt.Sprintf("n%d.example.com.", tc.records), tc.edns)
		reply := b.Answer(t.Context(), query, tc.overTCP)
		m := unpack(t, reply)
		limit := max(512, min(tc.edns, maxUDP))
		if len(m.Answers) != tc.want || m.Truncated != tc.truncated || !tc.overTCP && len(reply) > limit {
			t.Errorf("%+v: %d records in %d bytes, truncated %t", tc, len(m.Answers), len(reply), m.Truncated)
		}
	}
}

// FuzzAnswer: whatever comes, the reply is well formed, belongs to the query, fits,
// and gives out no address that the policy does not open.
func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"example.com.", "www.example.com.", "rebind.example.com.", "other.example.org.", "localhost.", "1.0.0.127.in-addr.arpa."} {
		f.Add(question(f, dnsmessage.TypeA, name, 0), false)
		f.Add(question(f, dnsmessage.TypeTXT, name, 4096), true)
	}
	b := newBench(f, allowExample, names)
	b.Refused, b.Failed = nil, nil
	f.Fuzz(func(t *testing.T, query []byte, overTCP bool) {
		reply := b.Answer(t.Context(), query, overTCP)
		if reply == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(reply); err != nil {
			t.Fatalf("reply %x: %v", reply, err)
		}
		if m.ID != binary.BigEndian.Uint16(query) || !m.Response || len(reply) > maxTCP || !overTCP && len(reply) > maxUDP {
			t.Errorf("reply %+v of %d bytes", m.Header, len(reply))
		}
		for _, r := range m.Answers {
			addr, ok := address(r)
			if !ok || addr.IsLoopback() && strings.HasSuffix(strings.ToLower(m.Questions[0].Name.String()), "localhost.") {
				continue
			}
			if d := b.Policy.Connect("tcp", b.Book.Names(addr), netip.AddrPortFrom(addr, 443)); !d.Allowed {
				t.Errorf("%s gave out %s: %+v", m.Questions[0].Name, addr, d)
			}
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	var rules []string
	for i := range 200 {
		rules = append(rules, fmt.Sprintf(`{"name": "*.n%d.example"}`, i))
	}
	large := `{"version": 1, "rules": [` + strings.Join(rules, ",") + `, {"name": "example.com"}]}`
	for _, bm := range []struct{ name, file, question string }{
		{"cached", allowExample, "example.com."},
		{"cached, 201 rules", large, "example.com."},
		{"refused", allowExample, "other.example.org."},
		{"localhost", allowExample, "localhost."},
	} {
		b.Run(bm.name, func(b *testing.B) {
			s := newBench(b, bm.file, names)
			s.Refused = nil
			query := question(b, dnsmessage.TypeA, bm.question, 1232)
			b.ReportAllocs()
			for b.Loop() {
				s.Answer(b.Context(), query, false)
			}
		})
	}
}
