package policy

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Lengths of RFC 1035, section 2.3.4, without the final dot.
const (
	maxName  = 253
	maxLabel = 63
)

// CanonicalName returns name as policies compare it: lower case, without the
// final dot. It refuses what is not a host's or service's name in ASCII, and what
// a resolver might take for an address.
func CanonicalName(name string) (string, error) {
	name = strings.TrimSuffix(name, ".")
	switch {
	case name == "":
		return "", &valueError{"name", "it is empty", ""}
	case !isASCII(name):
		return "", notASCII(name)
	case len(name) > maxName:
		return "", &valueError{"name", fmt.Sprintf("it has %d characters, at most %d are possible", len(name), maxName), ""}
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return "", &valueError{"name", "it is an address", `give it as "address"`}
	}
	name = strings.ToLower(name)
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if err := checkLabel(label); err != nil {
			return "", err
		}
		last = label
	}
	if looksNumeric(last) {
		return "", &valueError{"name", fmt.Sprintf("its last part, %q, is a number, so that programs take it for an address", last), `give an address as "address"`}
	}
	return name, nil
}

// checkLabel takes letters, digits, hyphens inside and underscores, which names
// of services begin with.
func checkLabel(label string) error {
	switch {
	case label == "":
		return &valueError{"name", "it has an empty part between its dots", ""}
	case len(label) > maxLabel:
		return &valueError{"name", fmt.Sprintf("its part %q has %d characters, at most %d are possible", clip(label), len(label), maxLabel), ""}
	case label[0] == '-' || label[len(label)-1] == '-':
		return &valueError{"name", fmt.Sprintf("its part %q begins or ends with a hyphen", label), ""}
	}
	for i := range len(label) {
		c := label[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return &valueError{"name", fmt.Sprintf("%q cannot be part of a name", c), ""}
		}
	}
	return nil
}

// looksNumeric is the rule of the URL standard, "ends in a number": browsers and
// others read 10.1, 0x7f.1 and 017700000001 as IPv4 addresses.
func looksNumeric(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// notASCII refuses a name in another script. pyro does not convert it by itself:
// the writer of a policy shall see which name is opened.
func notASCII(name string) error {
	prefix := ""
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		prefix, name = "*.", rest
	}
	hint := "write it as it is in DNS, which begins with xn--"
	if ascii, err := idna.Lookup.ToASCII(name); err == nil && len(name) <= maxName {
		hint = fmt.Sprintf("write %q, its form in DNS", prefix+ascii)
	}
	return &valueError{"name", "it is not in ASCII", hint}
}

// pattern is the name of a rule: one name, or all below one.
type pattern struct {
	name string // canonical; of a wildcard what follows "*."
	wild bool
}

// parsePattern reads "example.com", which is that name alone, or
// "*.example.com", which is every name below it, of any depth, and not itself.
func parsePattern(text string) (pattern, error) {
	if !isASCII(text) {
		return pattern{}, notASCII(text)
	}
	if text == "*" {
		return pattern{}, &valueError{"name", "it is every name", `set "base" to "egress" for the internet`}
	}
	rest, wild := strings.CutPrefix(text, "*.")
	if strings.Contains(rest, "*") {
		return pattern{}, &valueError{"name", "a star stands only for all that comes before a name", `write "*.example.com"`}
	}
	name, err := CanonicalName(rest)
	if err != nil {
		return pattern{}, err
	}
	if IsLocalhost(name) {
		return pattern{}, &valueError{"name", "localhost is the sandbox itself", ""}
	}
	return pattern{name, wild}, nil
}

// IsLocalhost reports whether a canonical name means the machine that asks (RFC
// 6761, section 6.3).
func IsLocalhost(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// matches takes a canonical name.
func (p pattern) matches(name string) bool {
	if !p.wild {
		return name == p.name
	}
	return len(name) > len(p.name)+1 && strings.HasSuffix(name, p.name) && name[len(name)-len(p.name)-1] == '.'
}

func (p pattern) String() string {
	if p.wild {
		return "*." + p.name
	}
	return p.name
}
