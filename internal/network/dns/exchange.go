package dns

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// upstreamSize is the largest reply over UDP that no router has to cut.
	upstreamSize = 1232
	// maxUpstream is the number of records of a reply that are read.
	maxUpstream = 256
)

var errTruncated = errors.New("the reply was cut")

// newQuery makes a query with a random identifier.
func newQuery(q Question) ([]byte, uint16, error) {
	name, err := dnsmessage.NewName(q.Name + ".")
	if err != nil {
		return nil, 0, fmt.Errorf("the name %s: %w", q.Name, err)
	}
	var random [2]byte
	rand.Read(random[:]) // never fails
	id := binary.BigEndian.Uint16(random[:])
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, RecursionDesired: true})
	if err := errors.Join(b.StartQuestions(), b.Question(dnsmessage.Question{Name: name, Type: q.Type, Class: dnsmessage.ClassINET}), b.StartAdditionals()); err != nil {
		return nil, 0, err
	}
	var h dnsmessage.ResourceHeader
	if err := errors.Join(h.SetEDNS0(upstreamSize, 0, false), b.OPTResource(h, dnsmessage.OPTResource{})); err != nil {
		return nil, 0, err
	}
	message, err := b.Finish()
	return message, id, err
}

// withoutEDNS cuts the OPT record off a query of ours, for servers that do not
// know it: it is the last 11 bytes.
func withoutEDNS(message []byte) []byte {
	plain := append([]byte(nil), message[:len(message)-11]...)
	binary.BigEndian.PutUint16(plain[10:], 0)
	return plain
}

// exchange asks one server, over TCP if its reply does not fit otherwise.
func exchange(ctx context.Context, conf resolvConf, server netip.AddrPort, message []byte, id uint16, q Question) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, conf.timeout)
	defer cancel()
	a, err := overUDP(ctx, server, message, id, q)
	if err == nil && (a.RCode == dnsmessage.RCodeFormatError || a.RCode == dnsmessage.RCodeNotImplemented) {
		message = withoutEDNS(message)
		a, err = overUDP(ctx, server, message, id, q)
	}
	if errors.Is(err, errTruncated) {
		a, err = overTCP(ctx, server, message, id, q)
	}
	if err == nil && a.RCode != dnsmessage.RCodeSuccess && a.RCode != dnsmessage.RCodeNameError {
		return Answer{}, fmt.Errorf("answered %s", strings.TrimPrefix(a.RCode.String(), "RCode"))
	}
	return a, err
}

func dial(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	} else {
		conn.SetDeadline(time.Now().Add(lookupTime))
	}
	return conn, nil
}

// overUDP reads until a reply fits the question: the socket is connected, so only
// who fakes the server's address could send others.
func overUDP(ctx context.Context, server netip.AddrPort, message []byte, id uint16, q Question) (Answer, error) {
	conn, err := dial(ctx, "udp", server)
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	if _, err := conn.Write(message); err != nil {
		return Answer{}, err
	}
	buf := make([]byte, maxUDP)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return Answer{}, err
		}
		if a, ours, err := parseReply(buf[:n], id, q); ours {
			return a, err
		}
	}
}

func overTCP(ctx context.Context, server netip.AddrPort, message []byte, id uint16, q Question) (Answer, error) {
	conn, err := dial(ctx, "tcp", server)
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)); err != nil {
		return Answer{}, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return Answer{}, err
	}
	reply := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, reply); err != nil {
		return Answer{}, err
	}
	a, ours, err := parseReply(reply, id, q)
	if !ours {
		return Answer{}, errors.New("the reply is to another question")
	}
	return a, err
}

// parseReply reads a reply to the question. It reports false for what is none.
func parseReply(data []byte, id uint16, q Question) (Answer, bool, error) {
	var p dnsmessage.Parser
	h, err := p.Start(data)
	if err != nil || h.ID != id || !h.Response {
		return Answer{}, false, nil
	}
	asked, err := p.Question()
	switch {
	case err == dnsmessage.ErrSectionDone && h.RCode != dnsmessage.RCodeSuccess && h.RCode != dnsmessage.RCodeNameError: // a server that did not read that far
		return Answer{RCode: h.RCode}, true, nil
	case err != nil || asked.Type != q.Type || canonical(asked.Name) != q.Name:
		return Answer{}, false, nil
	case h.Truncated:
		return Answer{}, true, errTruncated
	}
	a := Answer{RCode: h.RCode}
	if err := p.SkipAllQuestions(); err != nil {
		return Answer{}, true, err
	}
	for range maxUpstream {
		header, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			break
		}
		if err != nil {
			return Answer{}, true, err
		}
		if header.Class != dnsmessage.ClassINET {
			if err := p.SkipAnswer(); err != nil {
				return Answer{}, true, err
			}
			continue
		}
		record, err := p.Answer()
		if err != nil {
			return Answer{}, true, err
		}
		a.Records = append(a.Records, record)
	}
	return a, true, nil
}
