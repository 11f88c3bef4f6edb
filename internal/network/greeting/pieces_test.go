package greeting

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"slices"
)

func newReader(data []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(data)) }

func contains(names []string, name string) bool { return slices.Contains(names, name) }

// silent is a connection whose other side has said all it has to say.
type silent struct {
	net.Conn
	io.Reader
}

func (s *silent) Read(p []byte) (int, error)  { return s.Reader.Read(p) }
func (s *silent) Write(p []byte) (int, error) { return len(p), nil }
func (s *silent) Close() error                { return nil }
