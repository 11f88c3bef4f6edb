// Package dns is the name server of a sandbox: it answers what the policy opens,
// with what the host resolves, and keeps a book of the addresses it gave out.
//
// A [Server] gets a query as bytes and returns the reply as bytes; how they came
// and go is the caller's. It asks in this order:
//
//   - Is it a query that has an answer here: localhost, the sandbox's own name, the
//     reverse of an address that was given out?
//   - Does the policy open the name, and records of this type for it?
//   - What does the host say? Answers are kept for their time to live, at most five
//     minutes, and only the chain of names from the question to its end is passed
//     on.
//   - May the name lead to these addresses? Others are left out, so that a name
//     cannot be pointed at the host's own network.
//
// What is refused is told to [Server.Refused]. To the guest a name that is not
// open does not exist (NXDOMAIN): with REFUSED, which would be more honest, the C
// libraries ask again, wait, and then report a temporary failure. A name that is
// open, but not for this type or only with addresses that were left out, has no
// such records (an empty reply). A query with EDNS gets the reason too, as an
// extended error (RFC 8914), which dig shows.
//
// All that a guest sends is untrusted, and so is all that a name's owner makes the
// host's resolver say.
package dns

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sync/singleflight"

	"pyro/internal/network/policy"
	"pyro/internal/network/refusals"
)

// Bounds of a server's work.
const (
	DefaultLookups = 64               // look-ups on the host at the same time
	maxWaiting     = 256              // queries that wait for one of them
	lookupTime     = 12 * time.Second // for one; resolvers in guests give up after 5 to 15 seconds
)

// Question is what is looked up on the host.
type Question struct {
	Name string // canonical: lower case, without the final dot
	Type dnsmessage.Type
}

// Answer is what the host found. RCode is success or NXDOMAIN: that there is
// nothing is an answer, that nobody could say is an error.
type Answer struct {
	RCode   dnsmessage.RCode
	Records []dnsmessage.Resource // the answer section, with times to live
}

// Resolver looks one question up on the host. It is called by many goroutines.
type Resolver interface {
	Lookup(ctx context.Context, q Question) (Answer, error)
}

// Server answers the queries of one sandbox. Its fields are set before the first
// query and not changed afterwards; Answer may be called by many goroutines.
type Server struct {
	Policy   *policy.Policy // required
	Resolver Resolver       // required
	Book     *Book          // required
	// Refused is told what the policy refused; nil for nobody.
	Refused func(refusals.Event)
	// Failed is told why the host could not resolve a name; nil for nobody. The
	// guest gets SERVFAIL.
	Failed func(name string, err error)
	// Hostname is the sandbox's own name, and Addresses are its addresses, for
	// which no look-up is made.
	Hostname  string
	Addresses []netip.Addr
	// OnlyIPv4 says that the host has no road to IPv6 addresses: names have none.
	OnlyIPv4 bool
	// Lookups is how many look-ups run on the host at the same time; 0 means
	// DefaultLookups.
	Lookups int

	once    sync.Once
	slots   chan struct{} // one for each look-up that runs
	waiting chan struct{} // one for each query that waits or looks up
	flights singleflight.Group
	cache   cache
}

func (s *Server) start() {
	n := s.Lookups
	if n <= 0 {
		n = DefaultLookups
	}
	s.slots = make(chan struct{}, n)
	s.waiting = make(chan struct{}, n+maxWaiting)
}

// Answer returns the reply to a query, or nil if there is none to give: what came
// is no query. It returns when ctx ends at the latest.
func (s *Server) Answer(ctx context.Context, query []byte, overTCP bool) []byte {
	s.once.Do(s.start)
	q, rcode, ok := parseQuery(query, overTCP)
	if !ok {
		return nil
	}
	if rcode != dnsmessage.RCodeSuccess {
		return q.reply(result{rcode: rcode})
	}
	return q.reply(s.answer(ctx, &q))
}

func (s *Server) answer(ctx context.Context, q *query) result {
	if r, ok := s.local(q); ok {
		return r
	}
	record := typeName(q.question.Type)
	if d := s.Policy.Name(q.name); !d.Allowed {
		s.refuse(q, netip.Addr{}, d)
		return result{rcode: dnsmessage.RCodeNameError, code: edeBlocked, text: d.Reason}
	}
	if d := s.Policy.Record(q.name, record); !d.Allowed {
		s.refuse(q, netip.Addr{}, d)
		return result{code: edeBlocked, text: d.Reason}
	}
	if s.OnlyIPv4 && q.question.Type == dnsmessage.TypeAAAA {
		return result{}
	}
	a, err := s.lookup(ctx, Question{q.name, q.question.Type})
	if err != nil {
		if s.Failed != nil {
			s.Failed(q.name, err)
		}
		return result{rcode: dnsmessage.RCodeServerFailure, code: edeNetworkError, text: err.Error()}
	}
	return s.filter(q, a)
}

func (s *Server) refuse(q *query, addr netip.Addr, d policy.Decision) {
	if s.Refused != nil {
		s.Refused(refusals.Event{
			Protocol: refusals.DNS, Name: q.name, Record: typeName(q.question.Type),
			Address: addr, Reason: d.Reason, Rule: d.Rule,
		})
	}
}
