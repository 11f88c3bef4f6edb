// Package gateway is the far end of a sandbox's network link: a router, a name
// server and a set of connections of the host, in user space.
//
// # Terms
//
// The link is a socket that carries ethernet frames, one a message, between the
// guest's network card and a [Gateway]. A flow is a TCP connection or a pair of
// UDP ports that the guest talks through. The policy says which flows may be.
//
// # What the guest sees
//
// The guest has [Guest4] and [Guest6]; [Gateway4] and [Gateway6] are its router
// and its name server, on UDP and TCP. The gateway answers pings to itself. A TCP
// connection that may not be, or that the host cannot make, is reset; a datagram
// that may not be is answered with "port unreachable", and a ping to anybody else,
// which the host cannot pass on without privileges, with "administratively
// prohibited".
// Other ports of the gateway are those of the host's loopback, which no policy
// opens unless it names that address.
//
// # Promises
//
//   - An address is dialled only if the policy allows that very address: nothing
//     is looked up between the decision and the connection.
//   - The names of an address, on which the policy decides, are those for which
//     this gateway's own name server gave it out to this guest.
//   - Every frame and packet is untrusted. What a guest can make the gateway hold
//     is bounded: flows by number, each flow by its buffers. A reader that does
//     not read stops its writer, in both directions.
//   - The end of one direction of a connection is passed on by itself, as is a
//     reset.
//
// The stack beneath is gVisor's netstack, which parses the packets of its
// sandboxes too.
package gateway
