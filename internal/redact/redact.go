// Package redact takes secrets out of output.
//
// # Terms
//
// A [Set] knows the values to hide. A span is a part of the output that values
// cover: values that overlap make one span, values that only touch make two. A
// span is replaced by [Mark], whatever its length.
//
// # Promises
//
//   - What a [Writer] passes on does not depend on how its input was cut into
//     pieces: it is always what [Set.Text] makes of the whole.
//   - A Writer holds back at most the longest value less one byte: the end of what
//     it was given, as long as that may be the beginning of a value.
//   - Time is linear in the output, whatever the output and the values are.
//
// # What is recognized
//
// A value as it is; a value of several lines also line by line, so that a prefix
// or an indentation does not show it; with the line ends of terminals; and, for
// values up to 2 KiB, as a string in JSON, as part of a URL, and in base64 at any
// place of what was encoded. See forms.go. A program that wants to tell a secret
// can always write it in another way: this guards against accidents, not malice.
package redact

// Mark stands where a value was.
const Mark = "[REDACTED]"

// Set is values, ready to be searched for. A nil Set hides nothing. It does not
// change and may be used by several goroutines.
//
// It is the automaton of Aho and Corasick, "Efficient string matching: an aid to
// bibliographic search", 1975: one state for every beginning of a value, with the
// links to go on from when the next byte does not fit.
type Set struct {
	states  []state
	root    [256]int32 // where the empty beginning goes with a byte
	longest int
	values  []string
}

// state is a beginning of a value. Its children hang on one another as a list.
type state struct {
	fail, child, next int32 // fail: the longest end of this beginning that is a beginning too
	length            int32
	match             int32 // how long the longest value is that ends here; 0 is none
	with              byte
}

// New returns the set of the values and of what they look like when encoded, nil
// if there are none.
func New(values ...string) *Set {
	s := &Set{states: make([]state, 1)}
	for _, v := range values {
		if v == "" {
			continue
		}
		s.values = append(s.values, v)
		for _, form := range forms(v) {
			s.insert(form)
		}
	}
	if len(s.values) == 0 {
		return nil
	}
	s.link()
	return s
}

// Longest returns the length in bytes of the longest thing to hide.
func (s *Set) Longest() int {
	if s == nil {
		return 0
	}
	return s.longest
}

func (s *Set) insert(value string) {
	at := int32(0)
	for i := range len(value) {
		to := s.child(at, value[i])
		if to == 0 {
			to = int32(len(s.states))
			s.states = append(s.states, state{with: value[i], length: s.states[at].length + 1, next: s.states[at].child})
			s.states[at].child = to
			if at == 0 {
				s.root[value[i]] = to
			}
		}
		at = to
	}
	s.states[at].match = s.states[at].length
	s.longest = max(s.longest, len(value))
}

func (s *Set) child(at int32, b byte) int32 {
	if at == 0 {
		return s.root[b]
	}
	c := s.states[at].child
	for c != 0 && s.states[c].with != b {
		c = s.states[c].next
	}
	return c
}

// link finds the fail links, shorter beginnings first.
func (s *Set) link() {
	var queue []int32
	for c := s.states[0].child; c != 0; c = s.states[c].next {
		queue = append(queue, c)
	}
	for ; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for c := s.states[at].child; c != 0; c = s.states[c].next {
			fail := s.step(s.states[at].fail, s.states[c].with)
			s.states[c].fail = fail
			s.states[c].match = max(s.states[c].match, s.states[fail].match)
			queue = append(queue, c)
		}
	}
}

// step returns the longest beginning after another byte.
func (s *Set) step(at int32, b byte) int32 {
	for {
		if to := s.child(at, b); to != 0 || at == 0 {
			return to
		}
		at = s.states[at].fail
	}
}
