package gateway

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"

	"pyro/internal/network/link"
)

const (
	dnsPort = 53
	// maxQuestions is how many questions are worked on at the same time; what
	// comes meanwhile waits in the sockets' buffers.
	maxQuestions = 128
	// maxNameConns is how many connections to the name server there may be.
	maxNameConns = 64
	// nameIdle is how long such a connection may be silent, RFC 7766, section 6.2.3.
	nameIdle = 10 * time.Second
	// maxQuestion bounds a question; answers may be longer.
	maxQuestion = 4 << 10
)

// serveNames answers on port 53 of both addresses of the gateway.
func (g *Gateway) serveNames() error {
	questions, conns := make(chan struct{}, maxQuestions), make(chan struct{}, maxNameConns)
	for _, p := range []netip.Prefix{link.Gateway4, link.Gateway6} {
		at := tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(p.Addr().AsSlice()), Port: dnsPort}
		packets, err := gonet.DialUDP(g.stack, &at, nil, protocolOf(p.Addr()))
		if err != nil {
			return err
		}
		listener, err := gonet.ListenTCP(g.stack, at, protocolOf(p.Addr()))
		if err != nil {
			packets.Close()
			return err
		}
		stop := func() { packets.Close(); listener.Close() }
		g.work.Go(func() { <-g.ctx.Done(); stop() })
		g.work.Go(func() { g.answerPackets(packets, questions) })
		g.work.Go(func() { g.answerConns(listener, questions, conns) })
	}
	return nil
}

func (g *Gateway) answerPackets(packets *gonet.UDPConn, questions chan struct{}) {
	buffer := make([]byte, maxQuestion)
	for {
		n, from, err := packets.ReadFrom(buffer)
		if err != nil {
			return
		}
		question := append([]byte(nil), buffer[:n]...)
		questions <- struct{}{}
		g.work.Go(func() {
			defer func() { <-questions }()
			if answer := g.options.Names.Answer(g.ctx, question, false); answer != nil {
				_, _ = packets.WriteTo(answer, from)
			}
		})
	}
}

func (g *Gateway) answerConns(listener net.Listener, questions, conns chan struct{}) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		conns <- struct{}{}
		g.work.Go(func() {
			defer func() { <-conns }()
			defer conn.Close()
			g.answerConn(conn, questions)
		})
	}
}

// answerConn answers questions with a length before each, RFC 1035, section 4.2.2.
func (g *Gateway) answerConn(conn net.Conn, questions chan struct{}) {
	var length [2]byte
	for {
		_ = conn.SetDeadline(time.Now().Add(nameIdle))
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(length[:]))
		if len(question) > maxQuestion {
			return
		}
		if _, err := io.ReadFull(conn, question); err != nil {
			return
		}
		if err := g.answerOn(conn, question, questions); err != nil {
			return
		}
	}
}

func (g *Gateway) answerOn(conn net.Conn, question []byte, questions chan struct{}) error {
	questions <- struct{}{}
	answer := g.options.Names.Answer(g.ctx, question, true)
	<-questions
	if answer == nil || len(answer) > 1<<16-1 {
		return errors.New("no answer")
	}
	_ = conn.SetDeadline(time.Now().Add(nameIdle))
	_, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	return err
}
