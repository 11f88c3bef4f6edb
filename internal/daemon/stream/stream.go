// Package stream is the background process's side of an exec stream: it
// carries the stdin, signals and output of one command over an upgraded
// connection, in the frames that package api defines (api/stream.go).
//
// The caller sends stdin, its end, and signals, and reads until the last frame,
// a result or an error. A caller that closes the connection, or only its
// writing half, or sends what it must not, ends its command.
//
// The connection is always read, so that a signal or the end is seen at once.
// What then bounds stdin that the command does not take is a window: the caller
// may have api.StdinWindow bytes sent and not taken, and is told what is taken.
package stream

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"

	"pyro/api"
	"pyro/internal/frame"
	"pyro/internal/sandbox"
)

// Run runs the command of a call and connects it with its caller.
type Run func(context.Context, sandbox.Stdio) (api.ExecResult, error)

// Serve upgrades the connection, runs the command, and sends the last frame. r
// reads from conn and may hold bytes that were read ahead. The error is what
// the call ended with; the caller was told.
func Serve(ctx context.Context, conn net.Conn, r *bufio.Reader, run Run) error {
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\nPyro-Version: %s\r\n\r\n",
		api.UpgradeProtocol, api.Version)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := frame.NewWriter(conn)
	// Errors of writing mean that the caller is gone, which in.read notices.
	in := newInput(cancel, newStdin(ctx, api.StdinWindow, func(taken int) {
		_ = out.Write(api.FrameStdinTaken, binary.BigEndian.AppendUint32(nil, uint32(taken)))
	}))
	go in.read(r)
	res, err := run(ctx, sandbox.Stdio{
		Stdin: in.stdin, Stdout: out.Stream(api.FrameStdout), Stderr: out.Stream(api.FrameStderr), Signals: in.signals,
		Event: func(e api.ExecEvent) { _ = out.WriteJSON(api.FrameEvent, e) },
		Pull:  func(p api.Progress) { _ = out.WriteJSON(api.FramePull, p) },
	})
	in.stdin.quiet()
	if err != nil {
		_ = out.WriteJSON(api.FrameError, api.AsError(err))
		return err
	}
	_ = out.WriteJSON(api.FrameResult, res)
	return nil
}
