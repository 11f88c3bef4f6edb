package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/agent/wire"
)

// Bounds of published ports.
const (
	maxPublished = 16 // ports of one service
	maxTunnels   = 32 // connections to one port at the same time; others wait
)

// portsFile says in a workspace's folder which ports are published, for the next
// background process. It counts for the machine that it names.
const portsFile = "ports.json"

type portsRecord struct {
	Machine  string                         `json:"machine"`
	Services map[string][]api.PublishedPort `json:"services"`
}

// ports are the published ports of a life. The zero value has none.
type ports struct {
	mu    sync.Mutex
	ended bool
	open  map[string][]*port // by service
}

// port is a listener on the host's loopback.
type port struct {
	api.PublishedPort
	listener net.Listener
}

// parsePublish reads [HOST_PORT:]GUEST_PORT. HostPort 0 is any.
func parsePublish(list []string) ([]api.PublishedPort, error) {
	if len(list) > maxPublished {
		return nil, api.Errorf(api.KindUsage, "%d ports are to be published, at most %d are possible", len(list), maxPublished)
	}
	var all []api.PublishedPort
	for _, text := range list {
		host, guest, both := strings.Cut(text, ":")
		if !both {
			host, guest = "0", host
		}
		h, errHost := strconv.ParseUint(host, 10, 16)
		g, errGuest := strconv.ParseUint(guest, 10, 16)
		if errHost != nil || errGuest != nil || g == 0 || both && h == 0 {
			return nil, api.Errorf(api.KindUsage, "%q is no port to publish", text).WithHint("write GUEST_PORT or HOST_PORT:GUEST_PORT, for example 8080:80; ports are published on 127.0.0.1")
		}
		all = append(all, api.PublishedPort{HostPort: int(h), GuestPort: int(g)})
	}
	return all, nil
}

// listenPorts takes ports of the host's loopback, all or none.
func listenPorts(wanted []api.PublishedPort) ([]*port, error) {
	var opened []*port
	for _, w := range wanted {
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(w.HostPort)))
		if err != nil {
			closePorts(opened)
			if errors.Is(err, unix.EADDRINUSE) {
				return nil, api.Errorf(api.KindConflict, "port %d of the host is in use", w.HostPort).WithHint("publish another one, or leave HOST_PORT out to get a free one")
			}
			return nil, api.Errorf(api.KindPermission, "port %d of the host cannot be published: %w", w.HostPort, err).WithHint("publish a port above 1023")
		}
		w.HostPort = l.Addr().(*net.TCPAddr).Port
		opened = append(opened, &port{w, l})
	}
	return opened, nil
}

func closePorts(list []*port) {
	for _, p := range list {
		p.listener.Close()
	}
}

// publish begins to serve the ports of a service, until it or the life ends.
func (m *Manager) publish(in *instance, l *life, service string, opened []*port) {
	l.ports.mu.Lock()
	if l.ports.ended || l.ctx.Err() != nil {
		l.ports.mu.Unlock()
		closePorts(opened)
		return
	}
	if l.ports.open == nil {
		l.ports.open = map[string][]*port{}
		context.AfterFunc(l.ctx, l.unpublishAll)
	}
	before := l.ports.open[service]
	closePorts(before)
	l.ports.open[service] = opened
	l.ports.mu.Unlock()
	if len(before)+len(opened) > 0 {
		m.recordPorts(in, l)
	}
	for _, p := range opened {
		go m.serve(in, l, service, p)
	}
}

func (l *life) unpublishAll() {
	l.ports.mu.Lock()
	defer l.ports.mu.Unlock()
	l.ports.ended = true
	for _, list := range l.ports.open {
		closePorts(list)
	}
	l.ports.open = nil
}

// unpublish ends the ports of a service.
func (m *Manager) unpublish(in *instance, l *life, service string) {
	l.ports.mu.Lock()
	list := l.ports.open[service]
	delete(l.ports.open, service)
	l.ports.mu.Unlock()
	if len(list) > 0 {
		closePorts(list)
		m.recordPorts(in, l)
	}
}

// published returns the ports of a service.
func (l *life) published(service string) []api.PublishedPort {
	l.ports.mu.Lock()
	defer l.ports.mu.Unlock()
	var list []api.PublishedPort
	for _, p := range l.ports.open[service] {
		list = append(list, p.PublishedPort)
	}
	return list
}

// recordPorts tells the next background process. What cannot be written is lost
// with this one.
func (m *Manager) recordPorts(in *instance, l *life) {
	rec := portsRecord{Machine: l.machine.ID(), Services: map[string][]api.PublishedPort{}}
	l.ports.mu.Lock()
	for service, list := range l.ports.open {
		for _, p := range list {
			rec.Services[service] = append(rec.Services[service], p.PublishedPort)
		}
	}
	l.ports.mu.Unlock()
	if err := writePorts(in.dir, rec); err != nil {
		m.log.Error("published ports are not recorded", "workspace", in.id, "error", err)
	}
}

func writePorts(dir string, rec portsRecord) error {
	path := filepath.Join(dir, portsFile)
	if err := writeJSON(path+".new", rec); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// republish publishes again what an earlier process did for this very machine.
func (m *Manager) republish(in *instance, l *life) {
	b, err := os.ReadFile(filepath.Join(in.dir, portsFile))
	var rec portsRecord
	if err != nil || json.Unmarshal(b, &rec) != nil || rec.Machine != l.machine.ID() {
		return
	}
	for service, wanted := range rec.Services {
		opened, err := listenPorts(wanted)
		if err != nil {
			m.log.Error("ports cannot be published again", "workspace", in.id, "service", service, "error", err)
			continue
		}
		m.publish(in, l, service, opened)
	}
}

// serve accepts connections to a port and joins each to the service.
func (m *Manager) serve(in *instance, l *life, service string, p *port) {
	slots := make(chan struct{}, maxTunnels)
	for {
		slots <- struct{}{}
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { <-slots }()
			if err := l.join(conn.(*net.TCPConn), p.GuestPort); err != nil && !l.serviceRuns(service) {
				m.unpublish(in, l, service) // it has ended by itself
			}
		}()
	}
}

// serviceRuns asks the guest. A guest that does not answer has no say.
func (l *life) serviceRuns(service string) bool {
	ctx, cancel := context.WithTimeout(l.ctx, countTime)
	defer cancel()
	var info wire.ServiceInfo
	if err := l.ask(ctx, wire.ServiceStatus, wire.ServiceParams{Name: service}, &info); err != nil {
		return api.KindOf(err) != api.KindNotFound
	}
	return info.State == wire.ServiceRunning || info.State == wire.ServiceStarting
}

// join passes bytes between a connection of the host and a port of the guest,
// until both directions have ended or the life does. A connection that the guest
// does not take is reset.
func (l *life) join(conn *net.TCPConn, guestPort int) error {
	defer conn.Close()
	ctx, cancel := context.WithTimeout(l.ctx, dialTime)
	defer cancel()
	stream, err := l.machine.Dial(ctx)
	if err == nil {
		err = wire.Tunnel(ctx, stream, uint16(guestPort))
	}
	if err != nil {
		_ = conn.SetLinger(0)
		return fmt.Errorf("port %d: %w", guestPort, err)
	}
	defer stream.Close()
	stop := context.AfterFunc(l.ctx, func() { conn.Close(); stream.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() {
		_, err := io.Copy(stream, conn)
		if half, ok := stream.(interface{ CloseWrite() error }); err != nil || !ok || half.CloseWrite() != nil {
			stream.Close()
		}
	})
	both.Go(func() {
		if _, err := io.Copy(conn, stream); err != nil {
			_ = conn.SetLinger(0)
			conn.Close()
		}
		_ = conn.CloseWrite()
	})
	both.Wait()
	return nil
}
