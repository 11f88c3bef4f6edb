package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"pyro/api"
)

// Command is a row of the table commands; see the package comment. Its sequence
// is the caller's choice.
type Command struct {
	Workspace   string
	Sequence    int
	Argv        []string // any bytes
	Cwd         string
	State       api.CommandState
	ExitCode    int       // counts only if State is exited
	StartedAt   time.Time // milliseconds are kept
	DurationMS  int64
	StdoutBytes int64 // bytes it wrote, kept or not
	StderrBytes int64
	Limit       string // JSON of an api.Error; "" if none
}

const commandColumns = `workspace, sequence, argv, cwd, state, exit_code, started_at, duration_ms, stdout_bytes, stderr_bytes, limit_error`

func (c *Command) pointers() []any {
	return []any{
		&c.Workspace, &c.Sequence, (*argv)(&c.Argv), &c.Cwd, &c.State, &c.ExitCode, (*timestamp)(&c.StartedAt), &c.DurationMS,
		&c.StdoutBytes, &c.StderrBytes, &c.Limit,
	}
}

// InsertCommand adds a row. It is not durable: a power failure may take it. A
// workspace that there is not is an error of kind not_found.
func (s *Store) InsertCommand(ctx context.Context, c Command) error {
	_, err := s.exec(ctx, false, `INSERT INTO commands (`+commandColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		c.Workspace, c.Sequence, argv(c.Argv).column(), c.Cwd, string(c.State), c.ExitCode, millis(c.StartedAt), c.DurationMS,
		c.StdoutBytes, c.StderrBytes, c.Limit)
	return orphan(err, c.Workspace)
}

// UpdateCommand writes how the command went: its state and all that follows it
// but the start. It is not durable: a power failure may take it. The row must be
// of the same start; a command that a reset has cut off therefore cannot
// overwrite one of the new log, and gets an error of kind not_found.
func (s *Store) UpdateCommand(ctx context.Context, c Command) error {
	res, err := s.exec(ctx, false, `UPDATE commands
		SET state = ?, exit_code = ?, duration_ms = ?, stdout_bytes = ?, stderr_bytes = ?, limit_error = ?
		WHERE workspace = ? AND sequence = ? AND started_at = ?`,
		string(c.State), c.ExitCode, c.DurationMS, c.StdoutBytes, c.StderrBytes, c.Limit, c.Workspace, c.Sequence, millis(c.StartedAt))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err == nil && n == 0 {
		return noCommand(c.Workspace, c.Sequence)
	}
	return nil
}

// LostCommands records of every running command of the workspace that nobody
// knows how it ended, and limit, the JSON of the api.Error that says why. It is
// not durable: the next process would find them running again, and say so again.
func (s *Store) LostCommands(ctx context.Context, workspace, limit string) error {
	_, err := s.exec(ctx, false, `UPDATE commands SET state = ?, limit_error = ? WHERE workspace = ? AND state = ?`,
		string(api.CommandLost), limit, workspace, string(api.CommandRunning))
	return err
}

// Commands returns commands of a workspace by their sequence, starting at from;
// count bounds how many, 0 is all.
func (s *Store) Commands(ctx context.Context, workspace string, from, count int) ([]Command, error) {
	if count == 0 {
		count = -1 // SQLite's way to say no limit
	}
	return query(ctx, s, (*Command).pointers,
		`SELECT `+commandColumns+` FROM commands WHERE workspace = ? AND sequence >= ? ORDER BY sequence LIMIT ?`, workspace, from, count)
}

// CommandBySequence returns one command, or an error of kind not_found.
func (s *Store) CommandBySequence(ctx context.Context, workspace string, sequence int) (Command, error) {
	found, err := query(ctx, s, (*Command).pointers,
		`SELECT `+commandColumns+` FROM commands WHERE workspace = ? AND sequence = ?`, workspace, sequence)
	switch {
	case err != nil:
		return Command{}, err
	case len(found) == 0:
		return Command{}, noCommand(workspace, sequence)
	}
	return found[0], nil
}

func noCommand(workspace string, sequence int) error {
	return api.Errorf(api.KindNotFound, "workspace %s has no command %d in its log", workspace, sequence).
		WithHint("see the commands since its creation or last reset with: pyro workspace logs %s", workspace)
}

// argv stands in its column as a JSON array of base64: the arguments of a command
// are bytes, and JSON has only text.
type argv []string

func (a argv) column() string {
	raw := make([][]byte, len(a))
	for i, arg := range a {
		raw[i] = []byte(arg)
	}
	b, _ := json.Marshal(raw) // [][]byte always has a form
	return string(b)
}

// Scan implements sql.Scanner.
func (a *argv) Scan(column any) error {
	text, ok := column.(string)
	if !ok {
		return fmt.Errorf("an argv is stored as %T", column)
	}
	var raw [][]byte
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return fmt.Errorf("argv %.80q: %w", text, err)
	}
	*a = make(argv, len(raw))
	for i, arg := range raw {
		(*a)[i] = string(arg)
	}
	return nil
}
