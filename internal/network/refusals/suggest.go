package refusals

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"pyro/internal/network/policy"
)

// Suggestion is a policy that would not have refused what was refused.
type Suggestion struct {
	Policy *policy.Policy
	// Left are the events that it still refuses: addresses that are not the
	// internet's, unless that was asked for, what no policy can open, and what
	// exceeds the size of a policy.
	Left []Event
}

// Suggest adds to a policy the rules that open what was refused: names where names
// were used, else addresses. With private it also opens addresses that are not the
// internet's; the rules say so. The current policy should know the host's own
// addresses (see [policy.Policy.WithHost]), which are then among these.
//
// A look-up that was refused does not tell for which port it was made; such rules
// get ports 80 and 443. Who reads the suggestion decides: everything in it was
// asked for by the guest, and by nobody else.
func Suggest(current *policy.Policy, events []Event, private bool) Suggestion {
	s := suggestion{current: current, private: private, wants: map[subject]*want{}}
	for _, e := range events {
		if !s.take(e) {
			s.left = append(s.left, e)
		}
	}
	base := current.Base()
	if base == policy.BaseOff {
		base = policy.BaseAllowlist
	}
	rules := append(current.Rules(), s.rules()...)
	if over := len(rules) - policy.MaxRules; over > 0 {
		rules = rules[:policy.MaxRules]
	}
	p, err := policy.New(base, current.Note(), rules)
	if err != nil { // no rule of ours is wrong; were one, the current policy is none the worse
		return Suggestion{Policy: current, Left: events}
	}
	for _, e := range events {
		if !allows(p, e) && !slices.Contains(s.left, e) {
			s.left = append(s.left, e)
		}
	}
	return Suggestion{Policy: p, Left: s.left}
}

// allows reports whether the policy would let pass what the event refused.
func allows(p *policy.Policy, e Event) bool {
	switch {
	case e.Protocol == Others:
		return false
	case e.Protocol != DNS:
		var names []string
		if e.Name != "" {
			names = []string{e.Name}
		}
		return p.Connect(e.Protocol, names, netip.AddrPortFrom(e.Address, e.Port)).Allowed
	case e.Address.IsValid():
		return p.Resolve(e.Name, e.Address).Allowed
	}
	return p.Record(e.Name, e.Record).Allowed
}

// subject is what a rule is for.
type subject struct {
	name    string
	address netip.Addr
	private bool
}

// want is what the guest wanted of it.
type want struct {
	lookups, connections int64
	records              []string
	ports                map[string][]uint16 // by protocol
}

type suggestion struct {
	current *policy.Policy
	private bool
	wants   map[subject]*want
	left    []Event
}

// take adds what an event asks for, and reports whether a rule can give it.
func (s *suggestion) take(e Event) bool {
	var sub subject
	if e.Name != "" {
		name, err := policy.CanonicalName(e.Name)
		if err != nil || policy.IsLocalhost(name) {
			return false
		}
		sub.name = name
	}
	class := policy.Public
	if e.Address.IsValid() {
		class = s.current.Class(e.Address)
	}
	sub.private = class > policy.Documentation || class == policy.Documentation && sub.name == ""
	if class == policy.Never || sub.private && !s.private {
		return false
	}
	if class == policy.Local || class == policy.Metadata { // no rule for a name opens them
		sub.name = ""
	}
	if sub.name == "" {
		sub.address = e.Address
	}
	switch e.Protocol {
	case DNS:
		return s.lookup(sub, e)
	case policy.TCP, policy.UDP:
		return (sub.name != "" || sub.address.IsValid()) && e.Port != 0 && s.connection(sub, e)
	}
	return false // pings are passed on by no policy
}

func (s *suggestion) want(sub subject) *want {
	w := s.wants[sub]
	if w == nil {
		w = &want{ports: map[string][]uint16{}}
		s.wants[sub] = w
	}
	return w
}

func (s *suggestion) lookup(sub subject, e Event) bool {
	special := !slices.Contains([]string{"A", "AAAA", "CNAME"}, e.Record)
	if special && !slices.Contains(policy.Records, e.Record) {
		return false
	}
	w := s.want(sub)
	w.lookups += e.Count
	if special && !slices.Contains(w.records, e.Record) {
		w.records = append(w.records, e.Record)
	}
	return true
}

func (s *suggestion) connection(sub subject, e Event) bool {
	w := s.want(sub)
	w.connections += e.Count
	if !slices.Contains(w.ports[e.Protocol], e.Port) {
		w.ports[e.Protocol] = append(w.ports[e.Protocol], e.Port)
	}
	return true
}

// rules writes the wants as rules, names first.
func (s *suggestion) rules() []policy.Rule {
	subjects := make([]subject, 0, len(s.wants))
	for sub := range s.wants {
		subjects = append(subjects, sub)
	}
	slices.SortFunc(subjects, compareSubjects)
	var rules []policy.Rule
	for _, sub := range subjects {
		rules = append(rules, s.wants[sub].rules(sub)...)
	}
	return rules
}

// compareSubjects sorts names by their domains, and addresses behind them.
func compareSubjects(a, b subject) int {
	if (a.name == "") != (b.name == "") {
		return cmp.Compare(len(b.name), len(a.name))
	}
	ordinary := func(s subject) int {
		if s.private {
			return 1
		}
		return 0
	}
	return cmp.Or(slices.Compare(reversed(a.name), reversed(b.name)), a.address.Compare(b.address), cmp.Compare(ordinary(a), ordinary(b)))
}

func reversed(name string) []string {
	labels := strings.Split(name, ".")
	slices.Reverse(labels)
	return labels
}

// rules are one rule for each protocol, or one for both if the ports are the same.
func (w *want) rules(sub subject) []policy.Rule {
	tcp, udp := ranges(w.ports[policy.TCP]), ranges(w.ports[policy.UDP])
	var rules []policy.Rule
	add := func(ports []policy.Ports, protocols ...string) {
		for part := range slices.Chunk(ports, policy.MaxPorts) {
			rules = append(rules, policy.Rule{Ports: part, Protocols: protocols})
		}
	}
	switch {
	case len(tcp)+len(udp) == 0: // a rule without ports is for 80 and 443
		rules = append(rules, policy.Rule{})
	case slices.Equal(tcp, udp):
		add(tcp, policy.TCP, policy.UDP)
	default:
		add(tcp)
		add(udp, policy.UDP)
	}
	slices.Sort(w.records)
	for i := range rules {
		r := &rules[i]
		r.Private = sub.private
		if r.Name = sub.name; sub.name == "" {
			r.Address = sub.address.String()
		}
		if sub.name != "" && i == 0 {
			r.Records = w.records
		}
		r.Note = w.note()
	}
	return rules
}

func (w *want) note() string {
	var parts []string
	if w.lookups > 0 {
		parts = append(parts, fmt.Sprintf("looked up %s", times(w.lookups)))
	}
	if w.connections > 0 {
		parts = append(parts, fmt.Sprintf("connected to %s", times(w.connections)))
	}
	text := "was refused: " + strings.Join(parts, ", ")
	if w.connections == 0 {
		text += "; the ports are a guess"
	}
	return text
}

func times(n int64) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}

// ranges joins ports that follow each other.
func ranges(ports []uint16) []policy.Ports {
	slices.Sort(ports)
	var joined []policy.Ports
	for _, port := range ports {
		if n := len(joined); n > 0 && joined[n-1].Last == port-1 {
			joined[n-1].Last = port
			continue
		}
		joined = append(joined, policy.Ports{First: port, Last: port})
	}
	return joined
}
