package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"pyro/internal/agent/boot"
	"pyro/internal/agent/file"
	"pyro/internal/agent/process"
	"pyro/internal/agent/unpack"
	"pyro/internal/agent/wire"
)

// late is a result that is made only when it can be sent, because it is large.
type late func() (any, error)

// answer does what a call asks for.
func (g *guest) answer(ctx context.Context, call wire.Call) (any, error) {
	switch call.Method {
	case wire.Ping:
		return struct{}{}, nil
	case wire.Stats:
		return g.stats()
	case wire.KillLargest:
		return with(call, func(p wire.KillLargestParams) (any, error) { return killLargest(p.MinRSSBytes, g.kill) })
	case wire.KillSession:
		return with(call, func(p wire.KillSessionParams) (any, error) { return struct{}{}, process.KillSession(p.PID, g.kill) })
	case wire.FileList, wire.FileStat, wire.FileRead, wire.Unpack:
		if g.files != nil {
			return g.answerFile(ctx, call)
		}
	case wire.Network:
		return with(call, func(p wire.NetworkParams) (any, error) { return struct{}{}, setNetwork(ctx, p) })
	case wire.SetClock:
		if g.ownKernel {
			return with(call, func(p wire.SetClockParams) (any, error) { return struct{}{}, boot.SetClock(p.UnixNano) })
		}
	case wire.Listen:
		if g.vsock != nil {
			return with(call, func(p wire.ListenParams) (any, error) { return struct{}{}, g.vsock.listen(p.Key) })
		}
	case wire.ShellOpen, wire.ShellList, wire.ShellRead, wire.ShellWrite, wire.ShellResize, wire.ShellSignal, wire.ShellClose:
		if g.shells != nil {
			return g.answerShell(ctx, call)
		}
	case wire.ServiceStart, wire.ServiceList, wire.ServiceStatus, wire.ServiceStop, wire.ServiceLogs:
		if g.services != nil {
			return g.answerService(ctx, call)
		}
	}
	return nil, fmt.Errorf("method %q is not known", call.Method)
}

// workspace is the folder that the file operations are about.
const workspace = "/workspace"

// maxFileCalls is how many calls about files run at the same time. Each may take
// some megabytes, or for ever, if the guest has mounted something odd.
const maxFileCalls = 4

func (g *guest) answerFile(ctx context.Context, call wire.Call) (any, error) {
	select {
	case g.files <- struct{}{}:
		defer func() { <-g.files }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	root := file.Root{Path: workspace}
	switch call.Method {
	case wire.FileList:
		return with(call, root.List)
	case wire.FileStat:
		return with(call, root.Stat)
	case wire.FileRead:
		return with(call, root.Read)
	}
	return with(call, func(p wire.UnpackParams) (any, error) {
		return unpack.Do(ctx, unpack.Options{Root: workspace}, bytes.NewReader(p.Stream)), nil
	})
}

func (g *guest) answerShell(ctx context.Context, call wire.Call) (any, error) {
	set := g.shells
	switch call.Method {
	case wire.ShellOpen:
		return with(call, set.Open)
	case wire.ShellList:
		return set.List(), nil
	case wire.ShellWrite:
		return with(call, set.Write)
	case wire.ShellResize:
		return with(call, set.Resize)
	case wire.ShellSignal:
		return with(call, set.Signal)
	case wire.ShellClose:
		return with(call, set.Close)
	}
	return with(call, func(p wire.ShellReadParams) (any, error) { return inTime(set.Await(ctx, p)) })
}

func (g *guest) answerService(ctx context.Context, call wire.Call) (any, error) {
	set := g.services
	switch call.Method {
	case wire.ServiceStart:
		return with(call, func(p wire.ServiceStartParams) (wire.ServiceInfo, error) { return set.Start(ctx, p) })
	case wire.ServiceList:
		return set.List(), nil
	case wire.ServiceStatus:
		return with(call, set.Status)
	case wire.ServiceStop:
		return with(call, func(p wire.ServiceStopParams) (wire.ServiceInfo, error) { return set.Stop(ctx, p) })
	}
	return with(call, func(p wire.ServiceLogsParams) (any, error) { return inTime(set.Await(ctx, p)) })
}

// with decodes the parameters of a call for f.
func with[P, R any](call wire.Call, f func(P) (R, error)) (any, error) {
	var p P
	if err := json.Unmarshal(call.Params, &p); err != nil {
		return nil, &wire.Error{Kind: wire.KindUsage, Message: fmt.Sprintf("parameters of %s: %v", call.Method, err)}
	}
	return f(p)
}

// inTime makes a late result of one that is read later.
func inTime[R any](read func() (R, error), err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return late(func() (any, error) { return read() }), nil
}

// maxError bounds the text of an error, which may quote what a call said.
const maxError = 4 << 10

// setError says in a reply why a call failed.
func setError(reply *wire.Reply, err error) {
	text := err.Error()
	reply.Result, reply.Error = nil, strings.ToValidUTF8(text[:min(len(text), maxError)], "")
	if e, ok := errors.AsType[*wire.Error](err); ok {
		reply.Kind = e.Kind
	}
}
