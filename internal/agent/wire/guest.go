package wire

import "pyro/internal/frame"

// FrameOpen begins a stream to a machine with a kernel of its own, which is
// reached over one byte stream that carries many, see package mux, or over vsock,
// see [VsockPort]. By it the host
// says what it wants, and what follows is the protocol of that:
//
//   - [ServiceControl]: hello, calls and replies, as on every other stream.
//   - [ServiceExec]: one command. The agent answers with [FrameStarted] or
//     [FrameFailed], then sends output, last [FrameExit]. The host may send
//     [FrameSignal] at any time.
//   - [ServiceInput]: the bytes of a command's standard input, up to the end.
//     They have a stream of their own, so that no signal waits behind them.
//   - [ServiceLayers]: writable layers, see [LayersParams].
const FrameOpen frame.Type = 10 // host to agent: Open

// The frames of a command.
const (
	FrameStarted frame.Type = 11 // agent to host: Started
	FrameFailed  frame.Type = 12 // agent to host: Failed, the last frame
	FrameStdout  frame.Type = 13 // agent to host: bytes
	FrameStderr  frame.Type = 14 // agent to host: bytes
	FrameExit    frame.Type = 15 // agent to host: Exit, the last frame
	FrameSignal  frame.Type = 16 // host to agent: Signal
	FrameUnread  frame.Type = 17 // host to agent: nothing; the output goes nowhere any more
)

// The frames of writable layers.
const (
	FrameLayer frame.Type = 20 // agent to host: Layer, its tar follows
	FrameBytes frame.Type = 21 // agent to host: bytes of the tar
	FrameZeros frame.Type = 22 // agent to host: Zeros, in the place of bytes
	FrameEnd   frame.Type = 23 // agent to host: nothing, the last frame
)

// Service is what a stream is for.
type Service string

// The services.
const (
	ServiceControl Service = "control"
	ServiceExec    Service = "exec"
	ServiceInput   Service = "input"
	ServiceLayers  Service = "layers"
)

// Open is the first frame of such a stream.
type Open struct {
	Service Service       `json:"service"`
	Exec    *ExecParams   `json:"exec,omitempty"`
	Layers  *LayersParams `json:"layers,omitempty"`
	Input   string        `json:"input,omitempty"` // the ExecParams.Input that it is for
}

// ExecParams is a command. All of Argv, Env and Dir are required and complete.
type ExecParams struct {
	Argv []string `json:"argv"`
	Env  []string `json:"env"`
	Dir  string   `json:"dir"`
	// Input is a name, chosen by the host, for the stream that will bring the
	// standard input. Empty means that there is none.
	Input string `json:"input,omitempty"`
}

// Started says that a command runs.
type Started struct {
	PID int `json:"pid"` // of the process, its group and its session
}

// Failed says why nothing was done.
type Failed struct {
	Kind    Kind   `json:"kind"`
	Message string `json:"message"`
	// Missing says that the program does not exist, BadDir that the folder does not.
	Missing bool `json:"missing,omitempty"`
	BadDir  bool `json:"bad_dir,omitempty"`
}

// Exit says how a command ended.
type Exit struct {
	Code   int `json:"code"` // 128+n if signal n ended it
	Signal int `json:"signal,omitempty"`
}

// Signal is a signal for the process group of a command.
type Signal struct {
	Signal int `json:"signal"`
}

// LayersParams asks for writable layers: what was changed at each of the mounts
// since the machine began, as tars that belong together. Nothing is written in
// the guest while they are read.
type LayersParams struct {
	Mounts []string `json:"mounts"`
}

// Layer names the mount whose tar follows.
type Layer struct {
	Mount string `json:"mount"`
}

// Zeros stand for so many zero bytes.
type Zeros struct {
	Count int64 `json:"count"`
}

// VsockPort is where the agent of a machine that has a vsock device serves, once
// the host has called Listen over the serial port. A connection is one stream; it
// begins with the proofs of package proof. With the first that is proven the agent
// lets go of the serial port: from then on the machine is reached over vsock alone.
// Only the guest's root may listen on a port as low as this one.
const VsockPort = 1001

// ListenParams is the secret that the host and this machine share. It comes over
// the serial port, which nobody else can read.
type ListenParams struct {
	Key []byte `json:"key"` // of proof.KeySize bytes
}
