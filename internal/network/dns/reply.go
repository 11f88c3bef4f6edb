package dns

import (
	"encoding/binary"

	"golang.org/x/net/dns/dnsmessage"
)

// Extended errors (RFC 8914, section 4) and the code of their option.
const (
	optionEDE       = 15
	edeBlocked      = 15
	edeFiltered     = 17
	edeNetworkError = 23
	maxEDEText      = 200
)

// result is what the reply says.
type result struct {
	rcode   dnsmessage.RCode
	records []dnsmessage.Resource
	// code and text are the extended error; without a text there is none.
	code uint16
	text string
}

// reply packs the reply. One that is too long for the guest's buffer says so and
// is otherwise empty; the guest asks again over TCP.
func (q *query) reply(r result) []byte {
	if packed, err := q.pack(r, false); err == nil && len(packed) <= q.size {
		return packed
	}
	r.text = ""
	if packed, err := q.pack(r, false); err == nil && len(packed) <= q.size {
		return packed
	}
	r.records = nil
	packed, err := q.pack(r, q.size != maxTCP)
	if err != nil {
		return nil
	}
	return packed
}

func (q *query) pack(r result, truncated bool) ([]byte, error) {
	b := dnsmessage.NewBuilder(make([]byte, 0, plainSize), dnsmessage.Header{
		ID: q.header.ID, Response: true, OpCode: q.header.OpCode, Truncated: truncated,
		RecursionDesired: q.header.RecursionDesired, RecursionAvailable: true, RCode: r.rcode & 0xf,
	})
	b.EnableCompression()
	if q.asked {
		if err := b.StartQuestions(); err != nil {
			return nil, err
		}
		if err := b.Question(q.question); err != nil {
			return nil, err
		}
	}
	if err := b.StartAnswers(); err != nil {
		return nil, err
	}
	for i := range r.records {
		if err := addRecord(&b, &r.records[i]); err != nil {
			return nil, err
		}
	}
	if q.edns {
		if err := addOPT(&b, r); err != nil {
			return nil, err
		}
	}
	return b.Finish()
}

func addOPT(b *dnsmessage.Builder, r result) error {
	if err := b.StartAdditionals(); err != nil {
		return err
	}
	var h dnsmessage.ResourceHeader
	if err := h.SetEDNS0(maxUDP, r.rcode, false); err != nil {
		return err
	}
	var opt dnsmessage.OPTResource
	if r.text != "" {
		data := binary.BigEndian.AppendUint16(nil, r.code)
		opt.Options = []dnsmessage.Option{{Code: optionEDE, Data: append(data, clip(r.text, maxEDEText)...)}}
	}
	return b.OPTResource(h, opt)
}

// addRecord adds a record of any type.
func addRecord(b *dnsmessage.Builder, r *dnsmessage.Resource) error {
	switch body := r.Body.(type) {
	case *dnsmessage.AResource:
		return b.AResource(r.Header, *body)
	case *dnsmessage.AAAAResource:
		return b.AAAAResource(r.Header, *body)
	case *dnsmessage.CNAMEResource:
		return b.CNAMEResource(r.Header, *body)
	case *dnsmessage.TXTResource:
		return b.TXTResource(r.Header, *body)
	case *dnsmessage.SRVResource:
		return b.SRVResource(r.Header, *body)
	case *dnsmessage.MXResource:
		return b.MXResource(r.Header, *body)
	case *dnsmessage.NSResource:
		return b.NSResource(r.Header, *body)
	case *dnsmessage.SOAResource:
		return b.SOAResource(r.Header, *body)
	case *dnsmessage.PTRResource:
		return b.PTRResource(r.Header, *body)
	case *dnsmessage.SVCBResource:
		return b.SVCBResource(r.Header, *body)
	case *dnsmessage.HTTPSResource:
		return b.HTTPSResource(r.Header, *body)
	case *dnsmessage.UnknownResource:
		return b.UnknownResource(r.Header, *body)
	}
	return nil // no other type is passed on
}
