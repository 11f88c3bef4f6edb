package dns

import (
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"pyro/internal/network/policy"
)

// Bounds on what one answer may hold.
const (
	maxChain   = 16 // names on the way from the question to its answer
	maxRecords = 64
)

// The time to live of a record is kept between these, in seconds: a guest that
// asks all the time costs the host a look-up each, and one that never asks again
// keeps an address that is somebody else's by now.
const (
	minTTL = 5
	maxTTL = 300
)

// filter makes the reply of what the host found: the chain of names from the
// question, and the records at its end, without the addresses that the policy
// does not let the name lead to. What is passed on is in the book before the
// guest can know of it.
func (s *Server) filter(q *query, a Answer) result {
	r := result{rcode: a.RCode}
	chain, end := follow(q, a.Records)
	r.records = chain
	left := 0
	for _, record := range a.Records {
		if record.Header.Type != q.question.Type || canonical(record.Header.Name) != end || len(r.records) >= maxRecords {
			continue
		}
		if addr, ok := address(record); ok {
			if d := s.Policy.Resolve(q.name, addr); !d.Allowed {
				if left++; left <= 8 {
					s.refuse(q, addr, d)
				}
				r.code, r.text = edeFiltered, d.Reason
				continue
			}
		}
		r.records = append(r.records, clamp(record))
	}
	for _, record := range r.records {
		if addr, ok := address(record); ok {
			s.Book.Add(q.name, addr, time.Duration(record.Header.TTL)*time.Second)
		}
	}
	return r
}

// follow walks along the aliases from the name that was asked for, and returns
// them and the name at which the records are, or "" if they lead in a circle. A
// question for the alias itself ends where it began.
func follow(q *query, records []dnsmessage.Resource) (chain []dnsmessage.Resource, end string) {
	end = q.name
	if q.question.Type == dnsmessage.TypeCNAME {
		return nil, end
	}
	seen := map[string]bool{}
	for len(chain) < maxChain {
		if seen[end] {
			return nil, ""
		}
		seen[end] = true
		next := ""
		for _, record := range records {
			alias, ok := record.Body.(*dnsmessage.CNAMEResource)
			if ok && canonical(record.Header.Name) == end {
				chain, next = append(chain, clamp(record)), canonical(alias.CNAME)
				break
			}
		}
		if next == "" {
			return chain, end
		}
		end = next
	}
	return nil, ""
}

// canonical is the name as policies compare it, or in lower case if it is none.
func canonical(name dnsmessage.Name) string {
	text := name.String()
	if c, err := policy.CanonicalName(text); err == nil {
		return c
	}
	return strings.ToLower(strings.TrimSuffix(text, "."))
}

func address(record dnsmessage.Resource) (netip.Addr, bool) {
	switch body := record.Body.(type) {
	case *dnsmessage.AResource:
		return netip.AddrFrom4(body.A), true
	case *dnsmessage.AAAAResource:
		return netip.AddrFrom16(body.AAAA), true
	}
	return netip.Addr{}, false
}

func clamp(record dnsmessage.Resource) dnsmessage.Resource {
	record.Header.TTL = min(max(record.Header.TTL, minTTL), maxTTL)
	record.Header.Class = dnsmessage.ClassINET
	return record
}

// clip shortens s to n bytes, at the border of a character.
func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "")
	}
	return s
}
