// Package greeting reads from the first bytes of a connection which server the
// client asks for: the name in a TLS ClientHello (RFC 6066, section 3) or in the
// Host field of an HTTP/1 request (RFC 9110, section 7.2).
//
// Many names share one address, and a network policy opens names. That an address
// was given out for an open name says only where a connection goes; the greeting
// says whom it means there, and can be compared. It is no proof: what a client
// says inside of TLS, or in a later request, is not seen.
//
// A client that speaks neither protocol, or waits for the server to begin, names
// nobody. [Read] is called with all bytes so far, until it needs no more, and
// [Last] when the client has ended its side before that:
//
//	for g := greeting.Read(all); g.More; g = greeting.Read(all) { ... }
//
// The bytes are the guest's, so nothing is believed: what is contradictory has
// several names, all of which count, and what has begun as one of the protocols
// and goes wrong is Broken.
package greeting

// MaxSize is how many bytes of a greeting are looked at. One that is longer is
// broken.
const MaxSize = 32 << 10

// Protocol is what the client speaks.
type Protocol string

// The protocols.
const (
	TLS   Protocol = "TLS"
	HTTP  Protocol = "HTTP"
	Other Protocol = "" // none that names a server
)

// Greeting is what is known from the first bytes.
type Greeting struct {
	Protocol Protocol
	// Names are the names that the client asks for, as it wrote them but without a
	// port; several when it contradicts itself, none when it names nobody.
	Names []string
	// More says that the greeting goes on and nothing can be said yet.
	More bool
	// Broken says that it began as one of the protocols and cannot be read; no
	// server would know whom it means, or each another.
	Broken bool
}

// Read looks at the first bytes of a connection.
func Read(data []byte) Greeting {
	g := Greeting{More: true}
	switch {
	case len(data) == 0:
		return g
	case data[0] == recordHandshake:
		g = readTLS(data)
	default:
		g = readHTTP(data)
	}
	if g.More && len(data) >= MaxSize {
		return Greeting{Protocol: g.Protocol, Broken: true}
	}
	return g
}

// Last looks at the bytes of a client that says no more. Some servers take the end
// of what a client sends for the end of a request, so what is there counts as if it
// was whole.
func Last(data []byte) Greeting {
	if len(data) == 0 {
		return Greeting{}
	}
	g := Read(data)
	if g.More && g.Protocol == HTTP {
		g = Read(append(append([]byte(nil), data...), "\r\n\r\n"...))
	}
	if g.More {
		return Greeting{Protocol: g.Protocol, Broken: true}
	}
	return g
}
