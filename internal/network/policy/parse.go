package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"pyro/api"
)

// version is the version of the file's form that this package reads and writes.
const version = 1

// MaxSize is the size in bytes of the largest policy file.
const MaxSize = 256 << 10

// file is the form on disk.
type file struct {
	Version int    `json:"version"`
	Base    string `json:"base,omitempty"`
	Note    string `json:"note,omitempty"`
	Rules   []Rule `json:"rules,omitempty"`
}

// The fields of the file and of a rule. encoding/json would also take them in
// other case, and twice.
var (
	fileFields = []string{"version", "base", "note", "rules"}
	ruleFields = []string{"name", "address", "ports", "protocols", "records", "private", "note"}
)

// valueError is what is wrong with one value; Parse makes an api.Error of it.
type valueError struct {
	field, fact, hint string
}

func (e *valueError) Error() string { return e.fact }

// Parse reads a policy file. What it does not understand it refuses: a policy
// that was misread might open what it should not. Errors are of kind usage.
func Parse(data []byte) (*Policy, error) {
	switch {
	case len(data) > MaxSize:
		return nil, bad("it has %d bytes, at most %d are possible", len(data), MaxSize).WithHint("name whole domains with *.example.com, and networks with a prefix")
	case len(bytes.TrimSpace(data)) == 0:
		return nil, bad("it is empty").WithHint(`begin the file with {"version": %d, "rules": [`, version)
	case !utf8.Valid(data):
		return nil, bad("it is not UTF-8 text")
	}
	if err := checkFields(data); err != nil {
		return nil, err
	}
	var f file
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, decodeError(data, err)
	}
	return f.compile()
}

// New makes a policy of what a file would hold; see [Parse] for the errors.
func New(base, note string, rules []Rule) (*Policy, error) {
	f := file{Version: version, Base: base, Note: note, Rules: rules}
	return f.compile()
}

func (f *file) compile() (*Policy, error) {
	if f.Version != version {
		return nil, bad("its version is %d, this pyro reads version %d", f.Version, version).WithHint(`begin the file with {"version": %d, "rules": [`, version)
	}
	if f.Base == "" {
		f.Base = BaseAllowlist
	}
	switch {
	case f.Base != BaseOff && f.Base != BaseAllowlist && f.Base != BaseEgress:
		return nil, bad("its base %q is unknown", clip(f.Base)).WithHint(`choose from "allowlist" (the default), "egress" and "off"`)
	case f.Base == BaseOff && len(f.Rules) > 0:
		return nil, bad("its base is off, and it has rules").WithHint(`leave "base" out: then nothing is open but what the rules open`)
	case len(f.Rules) > MaxRules:
		return nil, bad("it has %d rules, at most %d are possible", len(f.Rules), MaxRules).WithHint("name whole domains with *.example.com, and networks with a prefix")
	case len(f.Note) > MaxNote:
		return nil, bad("its note has %d bytes, at most %d are possible", len(f.Note), MaxNote)
	}
	p := &Policy{base: f.Base, note: f.Note, rules: make([]rule, len(f.Rules))}
	for i, r := range f.Rules {
		r.Ports, r.Protocols = slices.Clone(r.Ports), slices.Clone(r.Protocols) // a policy never changes
		compiled, err := r.compile(i)
		if err != nil {
			return nil, ruleError(i, r, err)
		}
		p.rules[i] = compiled
	}
	return p, nil
}

// MarshalJSON writes the policy as a file that Parse reads, in canonical form.
// What WithHost added is not in it.
func (p *Policy) MarshalJSON() ([]byte, error) {
	return json.Marshal(file{Version: version, Base: p.Base(), Note: p.note, Rules: p.Rules()})
}

// UnmarshalJSON is Parse.
func (p *Policy) UnmarshalJSON(data []byte) error {
	q, err := Parse(data)
	if err == nil {
		*p = *q
	}
	return err
}

func bad(format string, args ...any) *api.Error {
	return api.Errorf(api.KindUsage, "network policy: "+format, args...)
}

func ruleError(i int, r Rule, err error) error {
	v, ok := errors.AsType[*valueError](err)
	if !ok {
		return bad("rule %d: %w", i+1, err)
	}
	subject := ""
	if s := r.subject(); s != "" {
		subject = fmt.Sprintf(" (%q)", s)
	}
	if v.field == "rule" {
		return bad("rule %d%s: %s", i+1, subject, v.fact).WithHint("%s", v.hint)
	}
	return bad("rule %d%s, %q: %s", i+1, subject, v.field, v.fact).WithHint("%s", v.hint)
}

// decodeError says where in the file the fault is.
func decodeError(data []byte, err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return bad("line %d: %w", lineOf(data, syntax.Offset), err).WithHint("it must be JSON, which has no comments; use \"note\"")
	}
	if typ, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return bad("line %d: %q cannot be %s", lineOf(data, typ.Offset), typ.Field, article(typ.Value)).WithHint("see docs/network.md for what the fields hold")
	}
	if v, ok := errors.AsType[*valueError](err); ok {
		return bad("%q: %s", v.field, v.fact).WithHint("%s", v.hint)
	}
	return bad("%w", err).WithHint("see docs/network.md for the fields of the file")
}

func article(value string) string {
	if strings.HasPrefix(value, "a") || strings.HasPrefix(value, "o") {
		return "an " + value
	}
	return "a " + value
}

func lineOf(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(int(offset), len(data))], []byte("\n"))
}

// checkFields walks through the tokens of the file and refuses what encoding/json
// would let pass: fields that are unknown, in other case or there twice, and text
// behind the end.
func checkFields(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	type object struct {
		seen  []string // nil in an array
		key   string   // that was read and has no value yet
		array bool
	}
	var open []object
	for {
		token, err := d.Token()
		if err == io.EOF && len(open) == 0 {
			return nil
		}
		if err != nil {
			return tokenError(data, err)
		}
		line := func() int { return lineOf(data, d.InputOffset()) }
		if text, ok := token.(string); ok && len(open) > 0 && !open[len(open)-1].array && open[len(open)-1].key == "" {
			top := &open[len(open)-1]
			known := fileFields
			if len(open) > 1 {
				known = ruleFields
			}
			switch {
			case !slices.Contains(known, text):
				return bad("line %d: the field %q is unknown", line(), clip(text)).WithHint("choose from %s", strings.Join(known, ", "))
			case slices.Contains(top.seen, text):
				return bad("line %d: the field %q is there twice", line(), text)
			}
			top.seen, top.key = append(top.seen, text), text
			continue
		}
		delim, _ := token.(json.Delim)
		switch delim {
		case '{', '[':
			if len(open) >= 8 {
				return bad("line %d: it is nested too deeply", line()).WithHint("see docs/network.md for the form of the file")
			}
			open = append(open, object{array: delim == '['})
			continue
		case '}', ']':
			open = open[:len(open)-1]
		}
		if len(open) > 0 {
			open[len(open)-1].key = ""
			continue
		}
		if rest := bytes.TrimSpace(data[d.InputOffset():]); len(rest) > 0 {
			return bad("line %d: text behind the end of the policy", lineOf(data, int64(len(data)-len(rest))))
		}
	}
}

func tokenError(data []byte, err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return bad("line %d: it ends in the middle", lineOf(data, int64(len(data))))
	}
	return decodeError(data, err)
}

// clip shortens what someone else wrote, for a message.
func clip(s string) string {
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + "..."
	}
	return s
}
