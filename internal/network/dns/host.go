package dns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"pyro/internal/network/policy"
)

// Host resolves as the host does: by its file of hosts, then by the name servers
// of its resolv.conf, both of which it reads again when they change. It talks to
// the servers itself, because the standard library's resolver tells neither times
// to live nor records of all types. Search domains are not applied: a guest's
// question is whole. The zero value is ready.
type Host struct {
	// Hosts and ResolvConf are the paths of the files; "" means those in /etc.
	Hosts, ResolvConf string
	// Servers are asked instead of those in ResolvConf, unless there are none.
	Servers []netip.AddrPort

	mu       sync.Mutex
	hosts    map[string][]netip.Addr
	conf     resolvConf
	stamps   [2]stamp
	serverAt int // the server that answered last is asked first
}

// stamp tells whether a file has changed.
type stamp struct {
	size  int64
	mtime time.Time
	known bool
}

// maxFile is how much of the two files is read.
const maxFile = 4 << 20

// Lookup implements Resolver.
func (h *Host) Lookup(ctx context.Context, q Question) (Answer, error) {
	hosts, conf, first := h.files()
	if addrs, ok := hosts[q.Name]; ok && (q.Type == dnsmessage.TypeA || q.Type == dnsmessage.TypeAAAA) {
		return fromHosts(q, addrs), nil
	}
	message, id, err := newQuery(q)
	if err != nil {
		return Answer{}, err
	}
	var failures []error
	for range conf.attempts {
		for i := range conf.servers {
			at := (first + i) % len(conf.servers)
			a, err := exchange(ctx, conf, conf.servers[at], message, id, q)
			if err == nil {
				h.prefer(at)
				return a, nil
			}
			if ctx.Err() != nil {
				return Answer{}, errors.Join(append(failures, fmt.Errorf("%s: %w", conf.servers[at], err))...)
			}
			failures = append(failures, fmt.Errorf("%s: %w", conf.servers[at], err))
		}
	}
	return Answer{}, fmt.Errorf("no name server of the host answered for %s: %w", q.Name, errors.Join(failures[:min(len(failures), 3)]...))
}

func (h *Host) prefer(at int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serverAt = at
}

// files returns what the two files say now.
func (h *Host) files() (map[string][]netip.Addr, resolvConf, int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if data, changed := reread(h.Hosts, "/etc/hosts", &h.stamps[0]); changed || h.hosts == nil {
		h.hosts = parseHosts(data)
	}
	if data, changed := reread(h.ResolvConf, "/etc/resolv.conf", &h.stamps[1]); changed || h.conf.servers == nil {
		h.conf, h.serverAt = parseResolvConf(data), 0
		if len(h.Servers) > 0 {
			h.conf.servers = h.Servers
		}
	}
	return h.hosts, h.conf, h.serverAt
}

// reread returns the content of a file if it is not what it was. One that cannot
// be read is empty.
func reread(path, otherwise string, last *stamp) ([]byte, bool) {
	if path == "" {
		path = otherwise
	}
	now := stamp{known: true}
	info, err := os.Stat(path)
	if err == nil && info.Mode().IsRegular() {
		now.size, now.mtime = info.Size(), info.ModTime()
	}
	if now == *last {
		return nil, false
	}
	*last = now
	if now.size > maxFile {
		return nil, true
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, true
	}
	return data, true
}

func parseHosts(data []byte) map[string][]netip.Addr {
	hosts := map[string][]netip.Addr{}
	for _, fields := range lines(data, "#") {
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		for _, name := range fields[1:] {
			if name, err := policy.CanonicalName(name); err == nil {
				hosts[name] = append(hosts[name], addr.Unmap())
			}
		}
	}
	return hosts
}

func fromHosts(q Question, addrs []netip.Addr) Answer {
	var a Answer
	name, err := dnsmessage.NewName(q.Name + ".")
	if err != nil {
		return a
	}
	for _, addr := range addrs {
		h := dnsmessage.ResourceHeader{Name: name, Type: q.Type, Class: dnsmessage.ClassINET, TTL: minTTL}
		switch {
		case addr.Is4() && q.Type == dnsmessage.TypeA:
			a.Records = append(a.Records, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: addr.As4()}})
		case addr.Is6() && addr.Zone() == "" && q.Type == dnsmessage.TypeAAAA:
			a.Records = append(a.Records, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	return a
}

// resolvConf is what resolv.conf(5) says, as far as it matters here.
type resolvConf struct {
	servers  []netip.AddrPort
	timeout  time.Duration // for one server
	attempts int           // rounds
}

func parseResolvConf(data []byte) resolvConf {
	conf := resolvConf{timeout: 5 * time.Second, attempts: 2}
	for _, fields := range lines(data, "#;") {
		switch {
		case fields[0] == "nameserver" && len(fields) > 1 && len(conf.servers) < 3:
			if addr, err := netip.ParseAddr(fields[1]); err == nil {
				conf.servers = append(conf.servers, netip.AddrPortFrom(addr, 53))
			}
		case fields[0] == "options":
			for _, option := range fields[1:] {
				conf.option(option)
			}
		}
	}
	if conf.servers == nil { // as the C library does
		conf.servers = []netip.AddrPort{netip.AddrPortFrom(loopback[0], 53)}
	}
	return conf
}

func (c *resolvConf) option(text string) {
	name, value, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(value)
	switch {
	case err != nil:
	case name == "timeout":
		c.timeout = time.Duration(min(max(n, 1), 10)) * time.Second
	case name == "attempts":
		c.attempts = min(max(n, 1), 5)
	}
}

// lines yields the fields of each line that has some, with its number, without
// what follows one of the characters of comment.
func lines(data []byte, comment string) func(yield func(int, []string) bool) {
	return func(yield func(int, []string) bool) {
		i := 0
		for line := range bytes.Lines(data) {
			text := string(line)
			if at := strings.IndexAny(text, comment); at >= 0 {
				text = text[:at]
			}
			if fields := strings.Fields(text); len(fields) > 0 && !yield(i, fields) {
				return
			}
			i++
		}
	}
}
