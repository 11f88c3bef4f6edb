package agent

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"pyro/internal/agent/wire"
)

// connectTime bounds how long a listener of the guest may take.
const connectTime = 10 * time.Second

// tunnel answers a Connect, and passes bytes until both directions have ended.
// The connection has no other call: its frames would be bytes of the tunnel. in
// is what comes from conn.
func (s *stream) tunnel(ctx context.Context, in io.Reader, conn io.Writer, call wire.Call) {
	s.calls.Wait()
	var p wire.ConnectParams
	if json.Unmarshal(call.Params, &p) != nil {
		return
	}
	server, err := dialPort(ctx, p.Port)
	if err != nil {
		_ = s.send(call.ID, nil, &wire.Error{Kind: wire.KindNotFound, Message: "nothing listens on port " + strconv.Itoa(int(p.Port)) + " of the sandbox: " + err.Error()})
		return
	}
	defer server.Close()
	if s.send(call.ID, struct{}{}, nil) != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(server, in)
		_ = server.CloseWrite()
	})
	both.Go(func() {
		_, err := io.Copy(conn, server)
		half, ok := conn.(interface{ CloseWrite() error })
		if !ok || err != nil || half.CloseWrite() != nil {
			if c, ok := conn.(io.Closer); ok {
				c.Close()
			}
		}
	})
	both.Wait()
}

// dialPort connects to what listens on the loopback, or else on any address of
// the guest's.
func dialPort(ctx context.Context, port uint16) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: connectTime}
	var first error
	for _, host := range ownHosts() {
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
		if err == nil {
			return conn.(*net.TCPConn), nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func ownHosts() []string {
	hosts := []string{"127.0.0.1", "::1"}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			hosts = append(hosts, n.IP.String())
		}
	}
	return hosts
}
