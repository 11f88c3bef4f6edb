package dns

import (
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"pyro/internal/network/policy"
)

// Sizes of replies over UDP: without EDNS (RFC 1035), and at most with it. The
// guest's link carries more, but programs keep buffers of this size.
const (
	plainSize = 512
	maxUDP    = 4096
	maxTCP    = 65535
)

// rcodeBadVersion is the extended code for an unknown version of EDNS.
const rcodeBadVersion dnsmessage.RCode = 16

// query is one question of the guest.
type query struct {
	header   dnsmessage.Header
	question dnsmessage.Question
	asked    bool   // whether there is a question to repeat
	name     string // canonical, or as it came if it is no name
	edns     bool
	size     int // of the reply, at most
}

// parseQuery reads a query. It reports false for what gets no reply: a reply to a
// reply is how two servers keep each other busy for ever.
func parseQuery(data []byte, overTCP bool) (query, dnsmessage.RCode, bool) {
	q := query{size: plainSize}
	if overTCP {
		q.size = maxTCP
	}
	var p dnsmessage.Parser
	var err error
	if q.header, err = p.Start(data); err != nil || q.header.Response {
		return q, 0, false
	}
	if q.header.OpCode != 0 {
		return q, dnsmessage.RCodeNotImplemented, true
	}
	if q.header.Truncated {
		return q, dnsmessage.RCodeFormatError, true
	}
	if q.question, err = p.Question(); err != nil {
		return q, dnsmessage.RCodeFormatError, true
	}
	if _, err := p.Question(); err != dnsmessage.ErrSectionDone {
		return q, dnsmessage.RCodeFormatError, true
	}
	q.asked = true
	if q.name, err = policy.CanonicalName(q.question.Name.String()); err != nil {
		q.name = strings.ToLower(strings.TrimSuffix(q.question.Name.String(), "."))
	}
	rcode := q.parseRest(&p, overTCP)
	if rcode == dnsmessage.RCodeSuccess && q.question.Class != dnsmessage.ClassINET {
		rcode = dnsmessage.RCodeRefused
	}
	return q, rcode, true
}

// parseRest reads the sections behind the question: a query has no records but
// one OPT among the additional ones. Others, as signatures, mean nothing here.
func (q *query) parseRest(p *dnsmessage.Parser, overTCP bool) dnsmessage.RCode {
	if _, err := p.AnswerHeader(); err != dnsmessage.ErrSectionDone {
		return dnsmessage.RCodeFormatError
	}
	if _, err := p.AuthorityHeader(); err != dnsmessage.ErrSectionDone {
		return dnsmessage.RCodeFormatError
	}
	for {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return dnsmessage.RCodeSuccess
		}
		if err != nil || h.Type == dnsmessage.TypeOPT && (q.edns || h.Name.String() != ".") {
			return dnsmessage.RCodeFormatError
		}
		if h.Type == dnsmessage.TypeOPT {
			q.edns = true
			if !overTCP {
				q.size = min(max(int(h.Class), plainSize), maxUDP)
			}
			if version := h.TTL >> 16 & 0xff; version != 0 {
				return rcodeBadVersion
			}
		}
		if p.SkipAdditional() != nil {
			return dnsmessage.RCodeFormatError
		}
	}
}

// typeNames are the types that policies name; dnsmessage knows fewer.
var typeNames = map[dnsmessage.Type]string{
	dnsmessage.TypeA: "A", dnsmessage.TypeAAAA: "AAAA", dnsmessage.TypeCNAME: "CNAME", dnsmessage.TypeTXT: "TXT",
	dnsmessage.TypeSRV: "SRV", dnsmessage.TypeMX: "MX", dnsmessage.TypeNS: "NS", dnsmessage.TypeSOA: "SOA",
	dnsmessage.TypePTR: "PTR", dnsmessage.TypeHTTPS: "HTTPS", dnsmessage.TypeSVCB: "SVCB", dnsmessage.TypeALL: "ANY",
	35: "NAPTR", 44: "SSHFP", 52: "TLSA", 256: "URI", 257: "CAA",
}

// typeName writes other types as RFC 3597 does: TYPE10.
func typeName(t dnsmessage.Type) string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return "TYPE" + strings.TrimPrefix(t.String(), "Type")
}
