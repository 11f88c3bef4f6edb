package service

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pyro/internal/agent/process"
	"pyro/internal/agent/wire"
)

// probeTime bounds one attempt.
const probeTime = 10 * time.Second

// checkProbe says what is wrong with a probe.
func checkProbe(p *wire.Probe) error {
	if p == nil {
		return nil
	}
	switch p.Type {
	case wire.ProbeFile:
		if p.Path != "" {
			return nil
		}
	case wire.ProbeTCP:
		if _, port, err := net.SplitHostPort(p.Address); err == nil && port != "" {
			return nil
		}
	case wire.ProbeHTTP:
		if u, err := url.Parse(p.URL); err == nil && u.Scheme == "http" && u.Hostname() != "" {
			return nil
		}
	case wire.ProbeCommand:
		if p.Command != "" {
			return nil
		}
	}
	return &wire.Error{Kind: wire.KindUsage, Message: fmt.Sprintf("%s is not a probe: it needs a path, an address HOST:PORT, an http URL or a command", describeProbe(p))}
}

// describeProbe names a probe in messages.
func describeProbe(p *wire.Probe) string {
	return strings.TrimSpace(p.Type + " " + p.Path + p.Address + p.URL + p.Command)
}

// probe tries once whether the service is ready; nil is yes. The error tells
// what was found instead.
func (r *run) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	switch p := r.spec.Probe; p.Type {
	case wire.ProbeFile:
		path := p.Path
		if !filepath.IsAbs(path) {
			path = filepath.Join(r.spec.Cwd, path)
		}
		_, err := os.Stat(path)
		return err
	case wire.ProbeTCP:
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.Address)
		if err == nil {
			conn.Close()
		}
		return err
	case wire.ProbeHTTP:
		return get(ctx, p.URL)
	default:
		return r.command(ctx, p.Command)
	}
}

// get asks for a page and wants a status from 200 to 399. It speaks just enough
// HTTP/1.1 (RFC 9112): net/http would triple the size of the agent.
func get(ctx context.Context, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: pyro\r\nAccept: */*\r\nConnection: close\r\n\r\n", u.RequestURI(), u.Host)
	if err != nil {
		return err
	}
	status, err := readStatus(bufio.NewReader(conn))
	if err != nil {
		return err
	}
	if status < 200 || status > 399 {
		return fmt.Errorf("status %d", status)
	}
	return nil
}

// maxInterim bounds how many interim answers (status 1xx) are read.
const maxInterim = 10

// readStatus reads the status of the first answer that is not an interim one.
// The reader's buffer, 4 KiB, bounds a line.
func readStatus(in *bufio.Reader) (int, error) {
	for range maxInterim {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		version, rest, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		digits, _, _ := strings.Cut(rest, " ")
		status, err := strconv.Atoi(digits)
		if !strings.HasPrefix(version, "HTTP/1.") || err != nil || len(digits) != 3 || status < 100 {
			return 0, fmt.Errorf("answer %.40q is not HTTP", line)
		}
		if status >= 200 {
			return status, nil
		}
		for len(line) > 0 && strings.TrimSpace(string(line)) != "" {
			if line, err = in.ReadSlice('\n'); err != nil {
				return 0, err
			}
		}
	}
	return 0, errors.New("only interim answers")
}

// command runs a line of shell, which must exit with 0. What it leaves behind
// belongs to the service and ends with it.
func (r *run) command(ctx context.Context, line string) error {
	p, err := r.set.processes.Start(process.Command{
		Argv: []string{"/bin/sh", "-c", line}, Dir: r.spec.Cwd, Env: r.spec.Env, Group: r.group,
	})
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		err = process.KillSession(p.PID, syscall.Kill)
		<-p.Done()
		return errors.Join(fmt.Errorf("no exit within %s", probeTime), err)
	}
	if code := p.ExitCode(); code != 0 {
		return fmt.Errorf("exit code %d", code)
	}
	return nil
}
