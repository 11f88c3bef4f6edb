package redact

// Span is a part of what was scanned that is to be hidden.
type Span struct{ Begin, End int }

// scanner reads a stream and finds the spans in it.
type scanner struct {
	set   *Set
	state int32
	seen  int    // bytes read
	spans []Span // disjoint and ascending; those that were passed on are removed by the caller
}

// scan reads p.
func (c *scanner) scan(p []byte) {
	for i := 0; i < len(p); i++ {
		if c.state == 0 {
			for i < len(p) && c.set.root[p[i]] == 0 {
				i++
			}
			if i == len(p) {
				break
			}
		}
		c.state = c.set.step(c.state, p[i])
		if n := c.set.states[c.state].match; n > 0 {
			end := c.seen + i + 1
			c.add(Span{end - int(n), end})
		}
	}
	c.seen += len(p)
}

// add takes a span that ends behind all others, and makes it one with those that
// it overlaps.
func (c *scanner) add(s Span) {
	for n := len(c.spans); n > 0 && c.spans[n-1].End > s.Begin; n-- {
		s.Begin = min(s.Begin, c.spans[n-1].Begin)
		c.spans = c.spans[:n-1]
	}
	c.spans = append(c.spans, s)
}

// settled is up to where no value can begin any more that has not been found.
func (c *scanner) settled() int { return c.seen - int(c.set.states[c.state].length) }

// Find returns the spans of text, and where the beginning of a value starts that
// text ends in; that is its length if it ends in none.
func (s *Set) Find(text []byte) (spans []Span, open int) {
	if s == nil {
		return nil, len(text)
	}
	c := scanner{set: s}
	c.scan(text)
	return c.spans, c.settled()
}

// Text returns text without the values.
func (s *Set) Text(text string) string {
	spans, _ := s.Find([]byte(text))
	if len(spans) == 0 {
		return text
	}
	return string(Replace([]byte(text), spans, 0, len(text)))
}

// Words returns the words without the values.
func (s *Set) Words(words []string) []string {
	if s == nil || words == nil {
		return words
	}
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = s.Text(w)
	}
	return out
}

// Replace returns text[from:to] with marks where spans begin, and without what
// they cover; of a span that begins before from, the mark stands there.
func Replace(text []byte, spans []Span, from, to int) []byte {
	out := make([]byte, 0, to-from)
	for _, s := range spans {
		switch {
		case s.End <= from:
			continue
		case s.Begin >= to:
			return append(out, text[from:to]...)
		case s.Begin >= from:
			out = append(append(out, text[from:s.Begin]...), Mark...)
		}
		from = min(s.End, to)
	}
	return append(out, text[from:to]...)
}

// leastRest is how much of a value's end is taken for one.
const leastRest = 4

// Rest returns the length of the longest end of a value that text begins with,
// if it has at least 4 bytes, else 0: what stands before text was cut off,
// perhaps in the middle of a value.
func (s *Set) Rest(text []byte) int {
	if s == nil {
		return 0
	}
	longest := 0
	for _, v := range s.values {
		for n := min(len(v)-1, len(text)); n >= leastRest && n > longest; n-- {
			if v[len(v)-n:] == string(text[:n]) {
				longest = n
			}
		}
	}
	return longest
}
