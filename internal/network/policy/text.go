package policy

import (
	"bytes"
	"encoding/json"
)

// Text writes the policy as a file for people, a rule on each line.
func (p *Policy) Text() []byte {
	var b bytes.Buffer
	b.WriteString("{\n  \"version\": 1")
	field := func(name string, value any) {
		b.WriteString(",\n  \"" + name + "\": ")
		b.Write(spaced(value))
	}
	if base := p.Base(); base != BaseAllowlist {
		field("base", base)
	}
	if p.note != "" {
		field("note", p.note)
	}
	if p.Base() != BaseOff {
		b.WriteString(",\n  \"rules\": [")
		for i, rule := range p.Rules() {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString("\n    ")
			b.Write(spaced(rule))
		}
		if len(p.rules) > 0 {
			b.WriteString("\n  ")
		}
		b.WriteByte(']')
	}
	b.WriteString("\n}\n")
	return b.Bytes()
}

// spaced encodes a value on one line, with a space behind commas and colons.
func spaced(value any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil { // there is nothing in a policy that has no form in JSON
		return []byte("null")
	}
	var out []byte
	text, escaped := false, false
	for _, c := range bytes.TrimSuffix(b.Bytes(), []byte("\n")) {
		out = append(out, c)
		switch {
		case escaped:
			escaped = false
		case text && c == '\\':
			escaped = true
		case c == '"':
			text = !text
		case !text && (c == ',' || c == ':'):
			out = append(out, ' ')
		}
	}
	return out
}
