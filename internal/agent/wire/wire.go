// Package wire is the protocol between the host and the guest agent.
//
// It runs over any byte stream: a pair of pipes, a unix socket, vsock,
// a virtio serial port. When a stream opens, the agent speaks first and says
// [Hello] with the protocol's version; a host that does not know that version
// hangs up. Then the host makes calls, each a frame with an id, and the agent
// answers each with a frame of the same id, in any order: calls run at the same
// time, as some of them wait for output. A stream that ends ends the waits of its
// calls, and nothing else: what a call has started goes on. The framing is that
// of package frame.
//
// The host must not trust the other end: root in the guest can replace the
// agent. Sizes are bounded by the framing, replies with unknown ids end the
// connection, and nothing a reply says is used as a path or a command.
package wire

import (
	"encoding/json"
	"net"
	"net/netip"

	"pyro/internal/frame"
)

// Protocol is the version in Hello. It grows when an old peer would
// misunderstand a new one; new methods alone do not change it.
const Protocol = 1

// The frame types.
const (
	FrameHello frame.Type = 1 // agent to host: Hello
	FrameCall  frame.Type = 2 // host to agent: Call
	FrameReply frame.Type = 3 // agent to host: Reply
)

// Hello is the first frame of every stream.
type Hello struct {
	Protocol int    `json:"protocol"`
	Version  string `json:"version"` // of the agent's build
	// PIDLimit is the limit that is in force, 0 if the guest kernel has none.
	PIDLimit int `json:"pid_limit"`
	// Problems tell what the agent could not set up.
	Problems []string `json:"problems,omitempty"`
}

// Call asks for one method.
type Call struct {
	ID     uint64          `json:"id"`
	Method Method          `json:"method"`
	Params json.RawMessage `json:"params,omitempty"`
}

// Reply answers a call: Error is empty on success. Kind is that of an [Error],
// or empty for a failure that a caller cannot act on.
type Reply struct {
	ID     uint64          `json:"id"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
	Kind   Kind            `json:"kind,omitempty"`
}

// Method names what the agent can do.
type Method string

// The methods with their parameters and results.
const (
	Ping        Method = "ping"         // nothing -> nothing
	Stats       Method = "stats"        // nothing -> StatsResult
	KillLargest Method = "kill_largest" // KillLargestParams -> KillLargestResult
	KillSession Method = "kill_session" // KillSessionParams -> nothing
	Network     Method = "network"      // NetworkParams -> nothing
	Connect     Method = "connect"      // ConnectParams -> nothing; see Tunnel
	SetClock    Method = "set_clock"    // SetClockParams -> nothing
	Listen      Method = "listen"       // ListenParams -> nothing; see VsockPort
)

// SetClockParams is the host's time. Only guests with a clock of their own take it.
type SetClockParams struct {
	UnixNano int64 `json:"unix_nano"`
}

// StatsResult measures the guest.
type StatsResult struct {
	// PIDs counts processes and threads without the agent's own.
	PIDs int `json:"pids"`
	// PIDLimitHits counts how often a fork failed because of the limit.
	PIDLimitHits int64 `json:"pid_limit_hits"`
	// DiskBytes are the bytes used of the root file system and of /workspace's,
	// DiskFree those that are free in the fuller one.
	DiskBytes int64 `json:"disk_bytes"`
	// OutOfMemory counts how often the guest's own kernel killed a process to free
	// memory; MemoryFilesFull says that files in memory, those in /dev/shm, may
	// not grow any more. MemoryBytes is what is in use. gVisor's guests leave
	// these at zero: the host measures them.
	OutOfMemory     int64 `json:"out_of_memory,omitempty"`
	MemoryFilesFull bool  `json:"memory_files_full,omitempty"`
	MemoryBytes     int64 `json:"memory_bytes,omitempty"`
	DiskFree        int64 `json:"disk_free"`
}

// KillLargestParams spares processes whose death would free next to nothing.
type KillLargestParams struct {
	MinRSSBytes int64 `json:"min_rss_bytes"`
}

// KillLargestResult names the process that was killed to free memory.
type KillLargestResult struct {
	PID      int    `json:"pid"` // 0 if there was none
	Name     string `json:"name"`
	RSSBytes int64  `json:"rss_bytes"`
}

// KillSessionParams names a session by the pid of its first process.
type KillSessionParams struct {
	PID int `json:"pid"`
}

// ConnectParams name a port that something in the guest listens on.
type ConnectParams struct {
	Port uint16 `json:"port"`
}

// NetworkParams are what to do about the guest's network, in this order; what is
// empty is left out.
type NetworkParams struct {
	DropCard   string `json:"drop_card,omitempty"`   // the network card to remove; none of that name is fine
	Card       *Card  `json:"card,omitempty"`        // the network card to set up
	ResolvConf string `json:"resolv_conf,omitempty"` // what /etc/resolv.conf shall hold
	AptSources string `json:"apt_sources,omitempty"` // what apt's sources.list shall hold, if apt has no sources
	Connect    string `json:"connect,omitempty"`     // HOST:PORT to connect to by TCP, to see whether that works
}

// Card is how a network card is to be set up, whose own driver, unlike gVisor's,
// does not know.
type Card struct {
	Name      string         `json:"name"`
	Addresses []netip.Prefix `json:"addresses"`
	Gateways  []Gateway      `json:"gateways"` // by which all that is elsewhere is reached
}

// Gateway is a neighbour that is never asked who it is.
type Gateway struct {
	Addr netip.Addr       `json:"addr"`
	MAC  net.HardwareAddr `json:"mac"`
}
