package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// plainly is Text done in the simplest way: every place is compared with every
// form, and what is covered in one piece is replaced.
func plainly(text string, values ...string) string {
	cover := make([]int, len(text)) // at each byte, where the span ends that it belongs to
	joined := make([]bool, len(text)+1)
	for _, v := range values {
		if v == "" {
			continue
		}
		for _, form := range forms(v) {
			for at := 0; at+len(form) <= len(text); at++ {
				if text[at:at+len(form)] != form {
					continue
				}
				for i := at; i < at+len(form); i++ {
					cover[i] = 1
					joined[i] = joined[i] || i > at
				}
			}
		}
	}
	var b strings.Builder
	for i := range len(text) {
		switch {
		case cover[i] == 0:
			b.WriteByte(text[i])
		case !joined[i]:
			b.WriteString(Mark)
		}
	}
	return b.String()
}

// inPieces is what a Writer makes of text that comes in pieces of the given
// lengths, over and over.
func inPieces(t *testing.T, s *Set, text string, lengths []byte) string {
	t.Helper()
	var out bytes.Buffer
	w := s.Writer(&out)
	for i := 0; len(text) > 0; i++ {
		n := len(text)
		if len(lengths) > 0 {
			n = min(n, int(lengths[i%len(lengths)])%32+1)
		}
		if k, err := w.Write([]byte(text[:n])); k != n || err != nil {
			t.Fatalf("Write: %d of %d, %v", k, n, err)
		}
		if held := len(w.held); held >= max(1, s.Longest()) {
			t.Fatalf("%d bytes are held back, of values of %d", held, s.Longest())
		}
		text = text[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestText(t *testing.T) {
	const pem = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nshort\nkqhkiG9w0BAQEF\n-----END KEY-----"
	for _, test := range []struct {
		name, text string
		values     []string
		want       string
	}{
		{"none", "hunter22", nil, "hunter22"},
		{"alone", "hunter22", []string{"hunter22"}, "[REDACTED]"},
		{"twice", "a hunter22 b hunter22 c", []string{"hunter22"}, "a [REDACTED] b [REDACTED] c"},
		{"touching", "hunter22hunter22", []string{"hunter22"}, "[REDACTED][REDACTED]"},
		{"only a part", "hunter2", []string{"hunter22"}, "hunter2"},
		{"begins again", "huhunter22", []string{"hunter22"}, "hu[REDACTED]"},
		{"one in another", "xx abcdef yy bcd", []string{"abcdef", "bcd"}, "xx [REDACTED] yy [REDACTED]"},
		{"overlapping", "abcdefgh", []string{"abcdef", "efgh"}, "[REDACTED]"},
		{"overlapping itself", "aaaaaaa", []string{"aaaa"}, "[REDACTED]"},
		{"the longer one never comes", "abcdeX", []string{"abcdef", "bcd"}, "a[REDACTED]eX"},
		{"lines", "key:\n  MIIEvQIBADANBg\n  short\n-----BEGIN KEY-----", []string{pem}, "key:\n  [REDACTED]\n  short\n-----BEGIN KEY-----"},
		{"all lines", "<" + pem + ">", []string{pem}, "<[REDACTED]>"},
		{"on a terminal", "<" + strings.ReplaceAll(pem, "\n", "\r\n") + ">", []string{pem}, "<[REDACTED]>"},
		{"mark", "[REDACTED]", []string{"REDACTED"}, "[[REDACTED]]"},
		{"no text", "\xff\x00se\xffcret\xfe", []string{"se\xffcret"}, "\xff\x00[REDACTED]\xfe"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := New(test.values...)
			if got := s.Text(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if s == nil {
				return
			}
			for n := range 12 {
				if got := inPieces(t, s, test.text, []byte{byte(n)}); got != test.want {
					t.Errorf("in pieces of %d: got %q, want %q", n+1, got, test.want)
				}
			}
		})
	}
}

// TestEncodings: wherever a value is encoded along with other text, not one of
// its characters can be had back but those it shares with its neighbours.
func TestEncodings(t *testing.T) {
	const value = "p&ss word/\"1\"+<ä>?~"
	s := New(value)
	for _, before := range []string{"", "u", "u:", "usr:", "user:"} {
		for _, after := range []string{"", "x", "xy", "xyz"} {
			for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding} {
				got := s.Text(enc.EncodeToString([]byte(before + value + after)))
				if !strings.Contains(got, Mark) || len(got) > len(Mark)+2+2*4+4 {
					t.Errorf("base64 of %q: %q", before+value+after, got)
				}
			}
		}
	}
	doc, _ := json.Marshal(map[string]string{"token": value})
	if got := s.Text(string(doc)); got != `{"token":"[REDACTED]"}` {
		t.Errorf("JSON: %s", got)
	}
	if got := s.Text("https://" + url.UserPassword("u", value).String() + "/?q=" + url.QueryEscape(value) + "&p=" + url.PathEscape(value)); strings.Contains(got, "ss") {
		t.Errorf("URL: %s", got)
	}
}

func TestRest(t *testing.T) {
	s := New("0123456789", "abcdef")
	for text, want := range map[string]int{
		"": 0, "9x": 0, "789x": 0, "6789x": 4, "123456789x": 9, "0123456789": 0, "cdef": 4, "cde": 0, "def": 0, "x6789": 0,
	} {
		if got := s.Rest([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestReplaceAPart(t *testing.T) {
	text, spans := []byte("0123456789"), []Span{{1, 3}, {5, 8}}
	for _, test := range []struct {
		from, to int
		want     string
	}{
		{0, 10, "0[REDACTED]34[REDACTED]89"},
		{2, 10, "34[REDACTED]89"}, // the mark stood before
		{0, 6, "0[REDACTED]34[REDACTED]"},
		{6, 7, ""},
		{8, 10, "89"},
		{4, 4, ""},
	} {
		if diff := cmp.Diff(test.want, string(Replace(text, spans, test.from, test.to))); diff != "" {
			t.Errorf("%d to %d (-want +got):\n%s", test.from, test.to, diff)
		}
	}
}

type broken struct{ error }

func (b broken) Write([]byte) (int, error) { return 0, b.error }

func TestWriterPassesOnErrors(t *testing.T) {
	gone := errors.New("gone")
	w := New("hunter22").Writer(broken{gone})
	if _, err := w.Write([]byte("some text")); !errors.Is(err, gone) {
		t.Errorf("Write: %v", err)
	}
	w = New("hunter22").Writer(broken{gone})
	if _, err := w.Write([]byte("hunter2")); err != nil {
		t.Errorf("Write of what is held back: %v", err)
	}
	if err := w.Close(); !errors.Is(err, gone) {
		t.Errorf("Close: %v", err)
	}
}

type stuck chan struct{}

func (s stuck) Write(p []byte) (int, error) { s <- struct{}{}; <-s; return len(p), nil }

// TestCloseDoesNotWait for a reader who is stuck.
func TestCloseDoesNotWait(t *testing.T) {
	below := make(stuck)
	w := New("hunter22").Writer(below)
	done := make(chan struct{})
	go func() { defer close(done); _, _ = w.Write([]byte("text hunt")) }()
	<-below
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	below <- struct{}{}
	<-done
}

// TestRandom compares with the simple way, on a small alphabet where everything
// overlaps everything.
func TestRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	letters := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ab\n"[rnd.IntN(3)]
		}
		return string(b)
	}
	for range 3000 {
		var values []string
		for range 1 + rnd.IntN(4) {
			values = append(values, letters(1+rnd.IntN(12)))
		}
		text := letters(rnd.IntN(200))
		s := New(values...)
		want := plainly(text, values...)
		if got := s.Text(text); got != want {
			t.Fatalf("values %q in %q: got %q, want %q", values, text, got, want)
		}
		if got := inPieces(t, s, text, []byte{byte(rnd.IntN(32)), byte(rnd.IntN(32))}); got != want {
			t.Fatalf("values %q in pieces of %q: got %q, want %q", values, text, got, want)
		}
	}
}

// FuzzWriter: for any cut into pieces, what comes out is the redaction of the
// whole, and that is what the simple way gives.
func FuzzWriter(f *testing.F) {
	f.Add("abc", "bcd", "xabcdx", []byte{1})
	f.Add("hunter22", "hunter22hunter22", "huhunter22hunter22hunter22!", []byte{2, 7})
	f.Add("line one\nline two", "two", "+line one\r\n+line two", []byte{0})
	f.Add("a\x00b", "\xff\xfe", "a\x00b\xff\xfe", []byte{})
	f.Add("0", "", "00666666600000000000", []byte("0"))
	f.Fuzz(func(t *testing.T, a, b, text string, lengths []byte) {
		if len(a)+len(b) > 200 || len(text) > 2000 {
			return
		}
		s := New(a, b)
		want := plainly(text, a, b)
		if got := s.Text(text); got != want {
			t.Fatalf("Text: got %q, want %q", got, want)
		}
		if s == nil {
			return
		}
		if got := inPieces(t, s, text, lengths); got != want {
			t.Fatalf("Writer: got %q, want %q", got, want)
		}
	})
}

// worst is output that a search by comparing would take forever with.
func worst(n int) (value, text string) {
	return strings.Repeat("a", n-1) + "b", strings.Repeat(strings.Repeat("a", n-2)+"c", 8)
}

func BenchmarkWriter(b *testing.B) {
	log := strings.Repeat("2026-01-02T03:04:05Z INFO request served path=/api/v1/items status=200 duration_ms=12\n", 800)
	value, text := worst(64 << 10)
	for name, c := range map[string]struct {
		set  *Set
		text string
	}{
		"one token in a log": {New("ghp_0123456789abcdefghijABCDEFGHIJ"), log},
		"64 tokens in a log": {New(tokens(64)...), log},
		"worst":              {New(value), text},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(c.text)))
			w := c.set.Writer(discard{})
			for b.Loop() {
				_, _ = w.Write([]byte(c.text))
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func tokens(n int) []string {
	rnd := rand.New(rand.NewPCG(3, 4))
	all := make([]string, n)
	for i := range all {
		b := make([]byte, 40)
		for j := range b {
			b[j] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[rnd.IntN(62)]
		}
		all[i] = string(b)
	}
	return all
}
