package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"pyro/internal/agent/process"
	"pyro/internal/agent/spool"
	"pyro/internal/agent/wire"
)

// maxShells bounds how many shells there are, exited ones included.
const maxShells = 128

// The sizes of a terminal.
const (
	defaultCols = 120
	defaultRows = 30
	maxSide     = 1<<16 - 1
)

// Set is all shells of a guest. Its methods are the calls of package wire; the
// errors that a caller can act on are *wire.Error.
type Set struct {
	dir       string
	processes *process.Table
	pump      *spool.Pump

	mu     sync.Mutex // guards what follows
	shells []*shell   // in the order in which they were opened
	opened int        // how many ever were, for the names of files
	names  map[string]bool
}

// NewSet returns a set without shells that keeps output in the folder dir.
func NewSet(dir string, processes *process.Table, pump *spool.Pump) *Set {
	return &Set{dir: dir, processes: processes, pump: pump, names: make(map[string]bool)}
}

// Open starts a shell.
func (s *Set) Open(p wire.ShellOpenParams) (wire.ShellInfo, error) {
	if err := complete(&p); err != nil {
		return wire.ShellInfo{}, err
	}
	path, err := s.reserve(p.ID)
	if err != nil {
		return wire.ShellInfo{}, err
	}
	sh, err := s.start(p, path)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		delete(s.names, p.ID)
		return wire.ShellInfo{}, err
	}
	s.shells = append(s.shells, sh)
	return sh.describe(), nil
}

// complete checks parameters and sets defaults.
func complete(p *wire.ShellOpenParams) error {
	if !wire.ValidName(p.ID) {
		return &wire.Error{Kind: wire.KindUsage, Message: fmt.Sprintf("%q cannot name a shell", p.ID)}
	}
	if p.Cwd == "" {
		p.Cwd = "/workspace"
	}
	if p.Cols == 0 {
		p.Cols = defaultCols
	}
	if p.Rows == 0 {
		p.Rows = defaultRows
	}
	if len(p.Argv) == 0 {
		p.Argv = []string{"/bin/sh"}
		if _, err := os.Stat("/bin/bash"); err == nil {
			p.Argv = []string{"/bin/bash"}
		}
	}
	return checkSize(p.Cols, p.Rows)
}

func checkSize(cols, rows int) error {
	if cols < 1 || rows < 1 || cols > maxSide || rows > maxSide {
		return &wire.Error{Kind: wire.KindUsage, Message: fmt.Sprintf("a terminal cannot have %d columns and %d rows", cols, rows)}
	}
	return nil
}

// reserve takes the name for a shell that is about to start and returns the
// path of its output.
func (s *Set) reserve(id string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names[id] {
		return "", &wire.Error{Kind: wire.KindConflict, Message: fmt.Sprintf("shell %q exists already", id)}
	}
	if len(s.names) >= maxShells {
		return "", &wire.Error{Kind: wire.KindConflict, Message: fmt.Sprintf("there are %d shells already, the most that may be", maxShells)}
	}
	s.names[id] = true
	s.opened++
	return filepath.Join(s.dir, fmt.Sprintf("shell-%d.out", s.opened)), nil
}

func (s *Set) find(id string) (*shell, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.shells, func(sh *shell) bool { return sh.id == id })
	if i < 0 {
		return nil, &wire.Error{Kind: wire.KindNotFound, Message: fmt.Sprintf("shell %q does not exist", id)}
	}
	return s.shells[i], nil
}

// List describes all shells.
func (s *Set) List() wire.ShellListResult {
	s.mu.Lock()
	shells := slices.Clone(s.shells)
	s.mu.Unlock()
	result := wire.ShellListResult{Shells: []wire.ShellInfo{}}
	for _, sh := range shells {
		result.Shells = append(result.Shells, sh.describe())
	}
	return result
}

// Await waits as p asks until there is output worth reading, or ctx ends. What
// it returns reads it: apart, so that the data exists only when it can be sent.
func (s *Set) Await(ctx context.Context, p wire.ShellReadParams) (func() (wire.ShellReadResult, error), error) {
	sh, err := s.find(p.ID)
	if err != nil {
		return nil, err
	}
	limit := p.Max
	if limit <= 0 || limit > wire.MaxData {
		limit = wire.MaxData
	}
	sh.catchUp()
	if _, end := sh.output.Bounds(); p.Cursor >= 0 && p.Cursor <= end {
		sh.await(ctx, p, limit)
	}
	return func() (wire.ShellReadResult, error) { return sh.read(p.Cursor, limit) }, nil
}

func (s *shell) await(ctx context.Context, p wire.ShellReadParams, limit int) {
	ctx, cancel := context.WithTimeout(ctx, wait(p.WaitMS))
	defer cancel()
	s.output.Wait(ctx, p.Cursor, s.exited)
	if p.IdleMS > 0 {
		s.awaitIdle(ctx, wait(p.IdleMS), p.Cursor+int64(limit))
	}
}

// wait returns a time to wait from a number of milliseconds that was asked for.
func wait(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), wire.MaxWaitMS)) * time.Millisecond
}

// awaitIdle returns when no output came for the idle time, the output has
// reached enough, the shell has exited or ctx ends.
func (s *shell) awaitIdle(ctx context.Context, idle time.Duration, enough int64) {
	for {
		_, end := s.output.Bounds()
		if end >= enough || ctx.Err() != nil {
			return
		}
		quiet, cancel := context.WithTimeout(ctx, idle)
		s.output.Wait(quiet, end, s.exited)
		cancel()
		if _, now := s.output.Bounds(); now == end {
			return
		}
	}
}

func (s *shell) read(cursor int64, limit int) (wire.ShellReadResult, error) {
	info := s.describe() // before the data: then "exited" means that nothing is missing
	chunk, err := s.output.Read(cursor, limit)
	if beyond, ok := errors.AsType[*spool.BeyondError](err); ok {
		return wire.ShellReadResult{}, &wire.Error{Kind: wire.KindUsage, Message: fmt.Sprintf("shell %q: %v", s.id, beyond)}
	}
	return wire.ShellReadResult{
		Cursor: chunk.Cursor, NextCursor: chunk.Next(), Dropped: chunk.Dropped, Data: chunk.Data,
		State: info.State, ExitCode: info.ExitCode, CursorEnd: max(info.CursorEnd, chunk.Next()),
		Cols: info.Cols, Rows: info.Rows,
	}, err
}

// Write gives input to a shell.
func (s *Set) Write(p wire.ShellWriteParams) (wire.ShellWriteResult, error) {
	sh, err := s.find(p.ID)
	if err != nil {
		return wire.ShellWriteResult{}, err
	}
	if len(p.Data) > wire.MaxData {
		return wire.ShellWriteResult{}, &wire.Error{Kind: wire.KindUsage, Message: fmt.Sprintf("input of %d bytes is too long for one call", len(p.Data))}
	}
	return sh.write(p.Data)
}

// Resize changes the size of a shell's terminal.
func (s *Set) Resize(p wire.ShellResizeParams) (wire.ShellInfo, error) {
	sh, err := s.find(p.ID)
	if err == nil {
		err = checkSize(p.Cols, p.Rows)
	}
	if err == nil {
		err = sh.resize(p.Cols, p.Rows)
	}
	if err != nil {
		return wire.ShellInfo{}, err
	}
	return sh.describe(), nil
}

// Signal sends a signal to a shell.
func (s *Set) Signal(p wire.ShellSignalParams) (wire.ShellInfo, error) {
	sh, err := s.find(p.ID)
	if err == nil {
		err = sh.signal(p.Signal)
	}
	if err != nil {
		return wire.ShellInfo{}, err
	}
	return sh.describe(), nil
}

// Close ends a shell and forgets it. Its name is free afterwards.
func (s *Set) Close(p wire.ShellParams) (wire.ShellInfo, error) {
	sh, err := s.find(p.ID)
	if err != nil {
		return wire.ShellInfo{}, err
	}
	s.mu.Lock()
	i := slices.Index(s.shells, sh)
	if i >= 0 {
		s.shells = slices.Delete(s.shells, i, i+1)
	}
	s.mu.Unlock()
	if i < 0 {
		return wire.ShellInfo{}, &wire.Error{Kind: wire.KindNotFound, Message: fmt.Sprintf("shell %q does not exist", p.ID)}
	}
	err = sh.close()
	s.mu.Lock()
	delete(s.names, p.ID)
	s.mu.Unlock()
	return sh.describe(), err
}
