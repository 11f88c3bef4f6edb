package service

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"pyro/internal/agent/process"
	"pyro/internal/agent/spool"
	"pyro/internal/agent/wire"
)

// maxServices bounds how many services there are, ended ones included.
const maxServices = 256

// Defaults and bounds of what a caller may ask for.
const (
	defaultTimeout  = 30_000
	defaultInterval = 500
	minInterval     = 10
	maxMS           = 24 * 3600 * 1000
	defaultLog      = 8 << 20
	minLog          = 64 << 10
	maxLog          = 64 << 20
	defaultGrace    = 5 * time.Second
)

// Set is all services of a guest. Its methods are the calls of package wire; the
// errors that a caller can act on are *wire.Error.
type Set struct {
	dir       string
	processes *process.Table
	groups    *process.Groups
	pump      *spool.Pump

	mu      sync.Mutex // guards what follows
	byName  map[string]*service
	started int // how many ever were, for the names of files and cgroups
}

// NewSet returns a set without services that keeps logs in the folder dir.
func NewSet(dir string, processes *process.Table, groups *process.Groups, pump *spool.Pump) *Set {
	return &Set{dir: dir, processes: processes, groups: groups, pump: pump, byName: make(map[string]*service)}
}

// Start starts a service and returns when it is ready or has failed to start.
// If ctx ends before, the service goes on starting.
func (s *Set) Start(ctx context.Context, p wire.ServiceStartParams) (wire.ServiceInfo, error) {
	if err := complete(&p); err != nil {
		return wire.ServiceInfo{}, err
	}
	sv, err := s.add(p)
	if err != nil {
		return wire.ServiceInfo{}, err
	}
	select {
	case <-sv.settled:
	case <-ctx.Done():
	}
	return sv.describe(), nil
}

// complete checks parameters and sets defaults.
func complete(p *wire.ServiceStartParams) error {
	usage := func(format string, args ...any) error {
		return &wire.Error{Kind: wire.KindUsage, Message: fmt.Sprintf(format, args...)}
	}
	if !wire.ValidName(p.Name) {
		return usage("%q cannot name a service", p.Name)
	}
	if len(p.Argv) == 0 || p.Argv[0] == "" {
		return usage("service %q has no command", p.Name)
	}
	if p.Cwd == "" {
		p.Cwd = "/workspace"
	}
	switch p.Restart {
	case "":
		p.Restart = wire.RestartNo
	case wire.RestartNo, wire.RestartOnFailure:
	default:
		return usage("restart %q is neither %q nor %q", p.Restart, wire.RestartNo, wire.RestartOnFailure)
	}
	for _, ms := range []*int64{&p.TimeoutMS, &p.IntervalMS} {
		if *ms < 0 || *ms > maxMS {
			return usage("service %q: a time of %d ms is not between 0 and a day", p.Name, *ms)
		}
	}
	if p.TimeoutMS == 0 {
		p.TimeoutMS = defaultTimeout
	}
	if p.IntervalMS == 0 {
		p.IntervalMS = defaultInterval
	}
	p.IntervalMS = max(p.IntervalMS, minInterval)
	if p.LogBytes == 0 {
		p.LogBytes = defaultLog
	}
	p.LogBytes = min(max(p.LogBytes, minLog), maxLog)
	p.Env = process.Environ(process.DefaultEnv, p.Env)
	return checkProbe(p.Probe)
}

// add makes the service in the place of one that has ended.
func (s *Set) add(p wire.ServiceStartParams) (*service, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.byName[p.Name]
	if old != nil && old.active() {
		return nil, &wire.Error{Kind: wire.KindConflict, Message: fmt.Sprintf("service %q is already %s", p.Name, old.describe().State)}
	}
	if old == nil && len(s.byName) >= maxServices {
		return nil, &wire.Error{Kind: wire.KindConflict, Message: fmt.Sprintf("there are %d services already, the most that may be", maxServices)}
	}
	if old != nil {
		<-old.done // at once
		old.log.Remove()
	}
	s.started++
	sv := &service{
		set: s, spec: p, number: s.started,
		log:     spool.NewLog(filepath.Join(s.dir, fmt.Sprintf("service-%d.log", s.started)), p.LogBytes),
		settled: make(chan struct{}), done: make(chan struct{}), stop: make(chan struct{}), hurry: make(chan struct{}),
		info: wire.ServiceInfo{
			Name: p.Name, Argv: process.Brief(p.Argv), Cwd: p.Cwd, Probe: p.Probe,
			State: wire.ServiceStarting, StartedAt: time.Now().UnixMilli(),
		},
	}
	s.byName[p.Name] = sv
	go sv.supervise()
	return sv, nil
}

func (s *Set) find(name string) (*service, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sv := s.byName[name]; sv != nil {
		return sv, nil
	}
	return nil, &wire.Error{Kind: wire.KindNotFound, Message: fmt.Sprintf("service %q does not exist", name)}
}

// List describes all services.
func (s *Set) List() wire.ServiceListResult {
	result := wire.ServiceListResult{Services: []wire.ServiceInfo{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sv := range s.byName {
		result.Services = append(result.Services, sv.describe())
	}
	slices.SortFunc(result.Services, func(a, b wire.ServiceInfo) int { return strings.Compare(a.Name, b.Name) })
	return result
}

// Status describes one service.
func (s *Set) Status(p wire.ServiceParams) (wire.ServiceInfo, error) {
	sv, err := s.find(p.Name)
	if err != nil {
		return wire.ServiceInfo{}, err
	}
	return sv.describe(), nil
}

// Stop ends a service. If ctx ends before, the service goes on ending.
func (s *Set) Stop(ctx context.Context, p wire.ServiceStopParams) (wire.ServiceInfo, error) {
	sv, err := s.find(p.Name)
	if err != nil {
		return wire.ServiceInfo{}, err
	}
	grace := defaultGrace
	if p.GraceMS != nil {
		grace = time.Duration(min(max(*p.GraceMS, 0), maxMS)) * time.Millisecond
	}
	sv.askToStop(grace)
	select {
	case <-sv.done:
	case <-ctx.Done():
	}
	return sv.describe(), nil
}

// Await waits as p asks until there is output worth reading, or ctx ends. What
// it returns reads it: apart, so that the data exists only when it can be sent.
func (s *Set) Await(ctx context.Context, p wire.ServiceLogsParams) (func() (wire.ServiceLogsResult, error), error) {
	sv, err := s.find(p.Name)
	if err != nil {
		return nil, err
	}
	limit := p.Max
	if limit <= 0 || limit > wire.MaxData {
		limit = wire.MaxData
	}
	sv.catchUp()
	if _, end := sv.log.Bounds(); p.TailLines == nil && p.Cursor >= 0 && p.Cursor <= end {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(min(max(p.WaitMS, 0), wire.MaxWaitMS))*time.Millisecond)
		defer cancel()
		sv.log.Wait(ctx, p.Cursor, sv.done)
	}
	return func() (wire.ServiceLogsResult, error) { return sv.read(p, limit) }, nil
}

func (s *service) read(p wire.ServiceLogsParams, limit int) (wire.ServiceLogsResult, error) {
	info := s.describe() // before the data: after the end nothing is missing
	var page spool.Page
	var err error
	if p.TailLines != nil {
		page = s.log.Tail(*p.TailLines, limit)
	} else if page, err = s.log.Read(p.Cursor, limit); err != nil {
		if beyond, ok := errors.AsType[*spool.BeyondError](err); ok {
			err = &wire.Error{Kind: wire.KindUsage, Message: fmt.Sprintf("service %q: %v", s.spec.Name, beyond)}
		}
		return wire.ServiceLogsResult{}, err
	}
	_, end := s.log.Bounds()
	result := wire.ServiceLogsResult{
		Cursor: page.Cursor, NextCursor: page.Next, Dropped: page.Dropped, State: info.State, CursorEnd: end,
		Records: make([]wire.LogRecord, len(page.Records)),
	}
	for i, r := range page.Records {
		result.Records[i] = wire.LogRecord{Stream: r.Stream.String(), AtMS: r.TimeMS, Cursor: r.Cursor, Data: r.Data}
	}
	return result, nil
}
