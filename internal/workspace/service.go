package workspace

import (
	"context"
	"slices"
	"strings"
	"time"

	"pyro/api"
	"pyro/internal/agent/wire"
	"pyro/internal/sandbox"
)

// readiness returns the probe that a request asks for, or nil.
func readiness(req api.StartServiceRequest) (*api.Readiness, error) {
	var all []api.Readiness
	if req.Readiness != nil {
		all = append(all, *req.Readiness)
	}
	if req.ReadyFile != "" {
		all = append(all, api.Readiness{Type: api.ReadyFile, Path: req.ReadyFile})
	}
	if req.ReadyTCP != "" {
		all = append(all, api.Readiness{Type: api.ReadyTCP, Address: req.ReadyTCP})
	}
	if req.ReadyHTTP != "" {
		all = append(all, api.Readiness{Type: api.ReadyHTTP, URL: req.ReadyHTTP})
	}
	if req.ReadyCommand != "" {
		all = append(all, api.Readiness{Type: api.ReadyCommand, Command: req.ReadyCommand})
	}
	switch len(all) {
	case 0:
		return nil, nil
	case 1:
		return &all[0], checkReadiness(all[0])
	}
	return nil, api.Errorf(api.KindUsage, "service %s has %d readiness probes, one is possible", req.ServiceName, len(all)).
		WithHint("choose one; --ready-command can check several things")
}

func checkReadiness(r api.Readiness) error {
	var value string
	switch r.Type {
	case api.ReadyFile:
		value = r.Path
	case api.ReadyTCP:
		value = r.Address
	case api.ReadyHTTP:
		value = r.URL
	case api.ReadyCommand:
		value = r.Command
	default:
		return api.Errorf(api.KindUsage, "readiness of type %q is not known", r.Type).WithHint("use file, tcp, http or command")
	}
	if value == "" || strings.ContainsRune(value, 0) {
		return api.Errorf(api.KindUsage, "readiness of type %s does not say what to probe", r.Type).
			WithHint(`for example {"type": "tcp", "address": "127.0.0.1:8080"}`)
	}
	return nil
}

func checkService(req api.StartServiceRequest) error {
	if !wire.ValidName(req.ServiceName) {
		return api.Errorf(api.KindUsage, "%q cannot name a service", req.ServiceName).
			WithHint("use 1 to 64 letters, digits, dots, dashes and underscores, the first a letter or digit")
	}
	if err := sandbox.CheckCommand(req.Command); err != nil {
		return err
	}
	for _, v := range req.Env {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" || strings.ContainsRune(v, 0) {
			return api.Errorf(api.KindUsage, "%q is no variable", v).WithHint("write NAME=VALUE")
		}
	}
	return nil
}

// startGrace is what the agent may take beyond the time for becoming ready: to
// end a service that did not.
const startGrace = 20 * time.Second

// StartService starts a service and waits until it is ready. After an error
// nothing of it runs. A stopped workspace is started.
func (m *Manager) StartService(ctx context.Context, req api.StartServiceRequest) (api.Service, error) {
	if err := checkService(req); err != nil {
		return api.Service{}, err
	}
	probe, err := readiness(req)
	if err != nil {
		return api.Service{}, err
	}
	wanted, err := parsePublish(req.Publish)
	if err != nil {
		return api.Service{}, err
	}
	in, leave, err := m.enter(req.WorkspaceID)
	if err != nil {
		return api.Service{}, err
	}
	defer leave()
	if err := in.checkName("service", req.ServiceName); err != nil {
		return api.Service{}, err
	}
	env, err := in.environ(req.SecretEnv)
	if err != nil {
		return api.Service{}, err
	}
	opened, err := listenPorts(wanted)
	if err != nil {
		return api.Service{}, err
	}
	var info wire.ServiceInfo
	var on *life
	err = m.onMachine(ctx, in, func(l *life) error {
		defer l.touched()
		on = l
		return startService(ctx, l, wire.ServiceStartParams{
			Name: req.ServiceName, Argv: req.Command, Cwd: workDir(req.Cwd), Env: slices.Concat(req.Env, env), Probe: wireProbe(probe), Restart: string(req.Restart),
			TimeoutMS: int64(req.ReadyTimeoutSeconds) * 1000, IntervalMS: int64(req.ReadyIntervalMS),
		}, &info)
	})
	if err != nil || info.State == wire.ServiceFailed {
		closePorts(opened)
	}
	if err != nil {
		if api.KindOf(err) == api.KindConflict {
			return api.Service{}, api.AsError(err).WithHint("stop it first: pyro workspace service stop %s %s", in.id, req.ServiceName)
		}
		return api.Service{}, err
	}
	if info.State == wire.ServiceFailed {
		kind := guestKind(info.LastErrorKind)
		if kind == api.KindInternal {
			kind = api.KindExec
		}
		return api.Service{}, api.Errorf(kind, "service %s of %s did not start: %s", req.ServiceName, in.what(), validText(info.LastError)).
			WithHint("see what it said: pyro workspace service logs %s %s", in.id, req.ServiceName)
	}
	m.publish(in, on, req.ServiceName, opened)
	return in.service(info, on), nil
}

// startService asks the agent. A caller who goes away takes the service along.
func startService(ctx context.Context, l *life, params wire.ServiceStartParams, info *wire.ServiceInfo) error {
	limited, cancel := context.WithTimeout(ctx, time.Duration(params.TimeoutMS)*time.Millisecond+startGrace)
	defer cancel()
	err := l.ask(limited, wire.ServiceStart, params, info)
	if limited.Err() != nil {
		stopping, done := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer done()
		_ = l.ask(stopping, wire.ServiceStop, wire.ServiceStopParams{Name: params.Name}, nil) // a machine that does not answer goes with its services
	}
	return err
}

func wireProbe(r *api.Readiness) *wire.Probe {
	if r == nil {
		return nil
	}
	return &wire.Probe{Type: string(r.Type), Path: r.Path, Address: r.Address, URL: r.URL, Command: r.Command}
}

func (in *instance) probe(p *wire.Probe) *api.Readiness {
	if p == nil {
		return nil
	}
	return &api.Readiness{
		Type: api.ReadinessType(validText(p.Type)), Path: in.text(p.Path), Address: in.text(p.Address), URL: in.text(p.URL), Command: in.text(p.Command),
	}
}

func (in *instance) service(s wire.ServiceInfo, l *life) api.Service {
	res := api.Service{
		WorkspaceID: in.id, ServiceName: validText(s.Name), State: serviceState(s.State), Command: in.words(s.Argv), Cwd: in.text(s.Cwd),
		Readiness: in.probe(s.Probe), Restarts: s.Restarts, StartedAt: guestTime(s.StartedAt), ReadyAt: guestTime(s.ReadyAt),
		EndedAt: guestTime(s.EndedAt), ExitCode: exitCode(s.ExitCode), ExecutionMode: l.mode(),
	}
	if res.State == api.ServiceStarting || res.State == api.ServiceRunning {
		res.Published = l.published(s.Name)
	}
	if res.State == api.ServiceFailed {
		res.StopReason = in.text(s.LastError)
	}
	return res
}

func serviceState(s string) api.ServiceState {
	switch s {
	case wire.ServiceStarting, wire.ServiceRunning, wire.ServiceExited, wire.ServiceStopped:
		return api.ServiceState(s)
	}
	return api.ServiceFailed
}

// ListServices lists the services. A stopped workspace has none.
func (m *Manager) ListServices(ctx context.Context, id string) (api.ServiceList, error) {
	list := api.ServiceList{WorkspaceID: id, Services: []api.Service{}}
	none := func(*instance) error { return nil }
	err := m.inGuest(id, none, func(in *instance, l *life) error {
		all, err := in.services(ctx, l)
		list.Services = append(list.Services, all...)
		return err
	})
	list.Count = len(list.Services)
	for _, s := range list.Services {
		if s.State == api.ServiceStarting || s.State == api.ServiceRunning {
			list.RunningCount++
		}
	}
	return list, err
}

func (in *instance) services(ctx context.Context, l *life) ([]api.Service, error) {
	var res wire.ServiceListResult
	if err := l.ask(ctx, wire.ServiceList, nil, &res); err != nil {
		return nil, err
	}
	var all []api.Service
	for _, s := range res.Services {
		all = append(all, in.service(s, l))
	}
	return all, nil
}

// countTime bounds how long a status waits for the guest to count its services.
const countTime = 2 * time.Second

// countServices fills in what the guest knows. One that does not answer has
// whatever the status says.
func (in *instance) countServices(ctx context.Context, w *api.Workspace) {
	l := in.currentLife()
	if l == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, countTime)
	defer cancel()
	all, err := in.services(ctx, l)
	if err != nil {
		return
	}
	for _, s := range all {
		w.ServiceCount++
		if s.State == api.ServiceStarting || s.State == api.ServiceRunning {
			w.RunningServiceCount++
		}
	}
}

// withService begins an operation on a service.
func (m *Manager) withService(req api.ServiceRequest, f func(*instance, *life) error) error {
	missing := func(in *instance) error {
		return api.Errorf(api.KindNotFound, "%s has no service %s", in.what(), req.ServiceName).
			WithHint("see which there are: pyro workspace service list %s", in.id)
	}
	return m.inGuest(req.WorkspaceID, missing, func(in *instance, l *life) error {
		err := f(in, l)
		if api.KindOf(err) == api.KindNotFound {
			return missing(in)
		}
		return err
	})
}

// StatusService describes a service.
func (m *Manager) StatusService(ctx context.Context, req api.ServiceRequest) (api.Service, error) {
	return m.serviceCall(ctx, req, wire.ServiceStatus, wire.ServiceParams{Name: req.ServiceName})
}

// StopService ends a service and everything that it started.
func (m *Manager) StopService(ctx context.Context, req api.ServiceRequest) (api.Service, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	return m.serviceCall(ctx, req, wire.ServiceStop, wire.ServiceStopParams{Name: req.ServiceName})
}

func (m *Manager) serviceCall(ctx context.Context, req api.ServiceRequest, method wire.Method, params any) (api.Service, error) {
	var res api.Service
	err := m.withService(req, func(in *instance, l *life) error {
		var info wire.ServiceInfo
		if err := l.ask(ctx, method, params, &info); err != nil {
			return err
		}
		if method != wire.ServiceStatus {
			l.touched()
		}
		if info.State != wire.ServiceStarting && info.State != wire.ServiceRunning {
			m.unpublish(in, l, req.ServiceName)
		}
		res = in.service(info, l)
		return nil
	})
	return res, err
}

// LogsService returns output of a service.
func (m *Manager) LogsService(ctx context.Context, req api.LogsServiceRequest) (api.ServiceLog, error) {
	switch {
	case req.MaxBytes > api.MaxOutput:
		return api.ServiceLog{}, api.Errorf(api.KindUsage, "max_bytes is %d, at most %d are possible", req.MaxBytes, api.MaxOutput).
			WithHint("read the rest with further calls, each from the next_cursor of the last")
	case req.WaitMS > wire.MaxWaitMS:
		return api.ServiceLog{}, api.Errorf(api.KindUsage, "a call waits at most %d ms", wire.MaxWaitMS).WithHint("call again")
	case req.TailLines != nil && req.Cursor != nil:
		return api.ServiceLog{}, api.Errorf(api.KindUsage, "tail_lines and cursor are both set").WithHint("choose one")
	}
	log := api.ServiceLog{WorkspaceID: req.WorkspaceID, ServiceName: req.ServiceName, Chunks: []api.LogChunk{}}
	err := m.withService(api.ServiceRequest{WorkspaceID: req.WorkspaceID, ServiceName: req.ServiceName}, func(in *instance, l *life) error {
		hide, err := in.hidden()
		if err != nil {
			return err
		}
		if hide != nil {
			return readHiddenLog(ctx, l, hide, req, &log)
		}
		records, _, err := readLog(ctx, l, req, &log)
		for _, r := range records {
			addOutput(&log, r)
		}
		return err
	})
	return log, err
}

// newestLines stands for all of them: more never fit into an answer.
const newestLines = 1 << 20

// readLog returns the records that are asked for, and the end of the log, and
// fills in the rest of the answer.
func readLog(ctx context.Context, l *life, req api.LogsServiceRequest, log *api.ServiceLog) (records []wire.LogRecord, end int64, err error) {
	params := wire.ServiceLogsParams{Name: req.ServiceName, TailLines: req.TailLines, Max: min(req.MaxBytes, wire.MaxData), WaitMS: int64(req.WaitMS)}
	switch {
	case req.Cursor != nil:
		params.Cursor = *req.Cursor
	case req.TailLines == nil:
		lines := newestLines
		params.TailLines = &lines
	}
	for got := 0; ; {
		var res wire.ServiceLogsResult
		if err := l.ask(ctx, wire.ServiceLogs, params, &res); err != nil {
			return nil, 0, err
		}
		if got == 0 {
			log.DroppedBytes, log.Truncated = res.Dropped, res.Cursor > 0 && req.Cursor == nil
		}
		for _, r := range res.Records {
			got += len(r.Data)
		}
		records = append(records, res.Records...)
		log.NextCursor, log.State = res.NextCursor, serviceState(res.State)
		if got >= req.MaxBytes || res.NextCursor >= res.CursorEnd || len(res.Records) == 0 {
			log.Truncated = log.Truncated || res.NextCursor < res.CursorEnd
			return records, res.CursorEnd, nil
		}
		params = wire.ServiceLogsParams{Name: req.ServiceName, Cursor: res.NextCursor, Max: min(req.MaxBytes-got, wire.MaxData)}
	}
}

// addOutput adds a record, to the last chunk if it is of the same stream.
func addOutput(log *api.ServiceLog, r wire.LogRecord) {
	stream, text := "stdout", validText(string(r.Data))
	if r.Stream == "stderr" {
		stream = "stderr"
		log.Stderr += text
	} else {
		log.Stdout += text
	}
	if n := len(log.Chunks); n > 0 && log.Chunks[n-1].Stream == stream {
		log.Chunks[n-1].Text += text
		return
	}
	log.Chunks = append(log.Chunks, api.LogChunk{Stream: stream, Text: text})
}
