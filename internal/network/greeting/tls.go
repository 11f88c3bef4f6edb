package greeting

import "encoding/binary"

// Numbers of RFC 8446 and RFC 6066.
const (
	recordHandshake     = 22
	handshakeHello      = 1
	extensionServerName = 0
	nameTypeHost        = 0
	maxRecord           = 1<<14 + 256
)

// readTLS reads a ClientHello, which may be spread over records as the client
// likes.
func readTLS(data []byte) Greeting {
	var hello []byte
	for {
		if len(data) >= 2 && data[1] != 3 {
			return Greeting{} // no version of TLS
		}
		if len(data) < 5 {
			return Greeting{Protocol: TLS, More: true}
		}
		n := int(binary.BigEndian.Uint16(data[3:]))
		if data[0] != recordHandshake || n == 0 || n > maxRecord {
			return Greeting{Protocol: TLS, Broken: true}
		}
		end := min(5+n, len(data))
		hello = append(hello, data[5:end]...)
		if len(hello) >= 1 && hello[0] != handshakeHello {
			return Greeting{Protocol: TLS, Broken: true}
		}
		if len(hello) >= 4 {
			size := int(hello[1])<<16 | int(hello[2])<<8 | int(hello[3])
			if size > MaxSize {
				return Greeting{Protocol: TLS, Broken: true}
			}
			if len(hello) >= 4+size {
				return readHello(hello[4 : 4+size])
			}
		}
		if end < 5+n {
			return Greeting{Protocol: TLS, More: true}
		}
		data = data[end:]
	}
}

// cursor reads fields and remembers whether one was missing.
type cursor struct {
	rest  []byte
	short bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.rest) {
		c.short, c.rest = true, nil
		return nil
	}
	taken := c.rest[:n]
	c.rest = c.rest[n:]
	return taken
}

// vector reads a length of one or two bytes and as many bytes.
func (c *cursor) vector(lengthBytes int) cursor {
	n := 0
	for _, b := range c.take(lengthBytes) {
		n = n<<8 | int(b)
	}
	return cursor{rest: c.take(n)}
}

func (c *cursor) uint16() int {
	if two := c.take(2); two != nil {
		return int(binary.BigEndian.Uint16(two))
	}
	return 0
}

func readHello(body []byte) Greeting {
	g := Greeting{Protocol: TLS}
	c := cursor{rest: body}
	c.take(2 + 32) // version, random
	c.vector(1)    // session
	c.vector(2)    // cipher suites
	c.vector(1)    // compression
	if !c.short && len(c.rest) == 0 {
		return g // no extensions, as of old
	}
	extensions := c.vector(2)
	g.Broken = c.short || len(c.rest) > 0
	for len(extensions.rest) > 0 {
		typ := extensions.uint16()
		content := extensions.vector(2)
		if g.Broken = g.Broken || extensions.short; g.Broken {
			break
		}
		if typ == extensionServerName {
			names, ok := readServerNames(content)
			g.Names, g.Broken = append(g.Names, names...), !ok
		}
	}
	if g.Broken {
		g.Names = nil
	}
	return g
}

func readServerNames(c cursor) (names []string, ok bool) {
	list := c.vector(2)
	if c.short || len(c.rest) > 0 {
		return nil, false
	}
	for len(list.rest) > 0 {
		typ := list.take(1)[0]
		name := list.vector(2)
		if list.short || typ != nameTypeHost || len(name.rest) == 0 {
			return nil, false
		}
		names = append(names, string(name.rest))
	}
	return names, true
}
