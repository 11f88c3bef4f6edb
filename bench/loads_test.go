package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"pyro/internal/network/policy"
)

// load is one thing that a client does with the server.
type load struct {
	name, what string
	unit       unit
	script     string // in Perl, with the server's host and port in @ARGV
}

const (
	loadBytes = 256 << 20
	loadGets  = 100
)

// loadClient begins each script. What a sandbox has without installing anything.
const loadClient = `use Socket; my ($host, $port) = @ARGV; my $s; my $b = "\0" x (1 << 18);
sub to { socket($s, PF_INET, SOCK_STREAM, 0) or die $!; connect($s, sockaddr_in($port, inet_aton($host))) or die $!;
	my $ask = "$_[0]\r\n\r\n"; syswrite($s, $ask) == length($ask) or die $! }
`

var loads = []load{
	{"down", "256 MiB from a server of the host", rate(loadBytes), `to("GET /down"); my $n = 0; while (my $r = sysread($s, $b, 1 << 18)) { $n += $r }
		$n == ` + fmt.Sprint(loadBytes) + ` or die "$n bytes"`},
	{"up", "256 MiB to a server of the host", rate(loadBytes), `to("GET /up"); my $left = ` + fmt.Sprint(loadBytes) + `; while ($left > 0) {
		my $w = syswrite($s, $b, $left < 1 << 18 ? $left : 1 << 18) or die $!; $left -= $w } shutdown($s, 1); sysread($s, $b, 1) == 1 or die "no answer"`},
	{"gets", "100 small requests, one after the other, each on a connection of its own", duration, `for (1..` + fmt.Sprint(loadGets) + `) { to("GET /small"); my $t = "";
		while (sysread($s, $b, 1 << 16)) { $t .= $b } $t =~ /hello/ or die $t; close $s }`},
}

// rate shows a time in which so many bytes went, and how fast that was.
func rate(bytes float64) unit {
	return func(v float64) string { return fmt.Sprintf("%s, %.0f MB/s", duration(v), bytes/v/1e6) }
}

// loadServer serves the loads on the host's loopback and is their clock, so that
// what it takes to start a client does not count.
type loadServer struct {
	net.Listener
	first, last chan time.Time // the begin and end of each connection
}

func serveLoads() (*loadServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &loadServer{l, make(chan time.Time, loadGets), make(chan time.Time, loadGets)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn.(*net.TCPConn))
		}
	}()
	return s, nil
}

func (s *loadServer) port() int { return s.Addr().(*net.TCPAddr).Port }

// policy opens the server to a sandbox, and nothing else.
func (s *loadServer) policy() (*policy.Policy, error) { return policy.Parse(s.policyText()) }

func (s *loadServer) policyText() []byte {
	return fmt.Appendf(nil, `{"version":1,"rules":[{"address":"127.0.0.1","ports":[%d],"private":true}]}`, s.port())
}

// serve answers one request. It ends when the client has closed its end, which it
// does when it has got everything.
func (s *loadServer) serve(conn *net.TCPConn) {
	defer conn.Close()
	s.first <- time.Now()
	defer func() { s.last <- time.Now() }()
	in := bufio.NewReader(conn)
	asked, _ := in.ReadString('\n')
	_, _ = in.ReadString('\n')
	switch {
	case strings.HasPrefix(asked, "GET /down"):
		_, _ = io.CopyBuffer(struct{ io.Writer }{conn}, io.LimitReader(zeros{}, loadBytes), make([]byte, 1<<20))
	case strings.HasPrefix(asked, "GET /up"):
		if n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{in}, make([]byte, 1<<20)); n == loadBytes {
			_, _ = io.WriteString(conn, "k")
		}
	default:
		_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")
	}
	_ = conn.CloseWrite()
	_, _ = io.Copy(io.Discard, in)
}

// measure has a client that run starts do all the loads.
func (s *loadServer) measure(run func(ctx context.Context, argv ...string) error, host string) func(context.Context) (figures, error) {
	return func(ctx context.Context) (figures, error) {
		got := figures{}
		for _, l := range loads {
			if err := run(ctx, "/usr/bin/perl", "-e", loadClient+l.script, host, fmt.Sprint(s.port())); err != nil {
				return nil, errors.Join(fmt.Errorf("%s: %w", l.name, err), s.forget())
			}
			connections := 1
			if l.name == "gets" {
				connections = loadGets
			}
			got[l.name] = s.time(connections).Seconds()
		}
		return got, nil
	}
}

// time is from the first connection's begin to the last one's end.
func (s *loadServer) time(connections int) time.Duration {
	var begin, end time.Time
	for range connections {
		if t := <-s.first; begin.IsZero() || t.Before(begin) {
			begin = t
		}
		if t := <-s.last; t.After(end) {
			end = t
		}
	}
	return end.Sub(begin)
}

// forget drops the times of a load that has failed.
func (s *loadServer) forget() error {
	for {
		select {
		case <-s.first:
		case <-s.last:
		case <-time.After(time.Second):
			return nil
		}
	}
}
