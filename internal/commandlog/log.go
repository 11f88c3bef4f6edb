// Package commandlog keeps what the commands of a workspace wrote, on the host's
// disk and within a budget.
//
// A [Log] is the folder of one workspace since its creation or last reset. Each
// command has a sequence in it, and an [Output] while it runs: two writers that
// take everything, never fail, and take no longer than a write into the page
// cache does. What is kept is bounded; what is counted is not.
//
//	DIR
//	├── 000001.stdout        what command 1 wrote to stdout; made for its first byte
//	├── 000001.stderr        likewise
//	├── 000002.stdout        of a long one that runs: the beginning, 3/4 of Budget.Command
//	└── 000002.stdout.tail   ... and the newest bytes of the rest, 1/4: a ring
//
// When the command ends, the tail is put behind the beginning and its file
// removed, so that what stays reads as a person expects:
//
//	beginning
//	[... 1234 bytes left out ...]
//	end
//
// # Budget
//
// A stream keeps Budget.Command bytes. All streams together keep Budget.Total:
// when more comes, the outputs of the oldest finished commands are removed, and
// when all of it is in use by commands that run, these stop keeping. Files count
// in whole blocks of 4 KiB, as they do on the disk; while a tail is being put in
// place it is there twice. In memory are at most 64 KiB for each stream.
//
// # Failures
//
// When the host's disk is full or failing, a stream keeps what it has, goes on
// to take and to count, and [Output.Err] tells. A process that is killed leaves
// the files as far as they were written, which is up to 64 KiB and 100 ms behind
// the command; of a full ring the oldest part is given up then, because the last
// write may have been at it. [Log.Read] puts such a tail in its place. Nothing is
// synced: a power failure may take more.
package commandlog

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"pyro/api"
)

// Budget bounds what is kept on the disk. The zero value stands for the defaults.
type Budget struct {
	Command int64 // bytes of each stream of a command; 0 is 64 MiB; never more than about half of Total
	Total   int64 // bytes of all files of the log; 0 is 1 GiB, and 32 KiB the least
}

func (b Budget) withDefaults() Budget {
	if b.Command <= 0 {
		b.Command = 64 << 20
	}
	if b.Total <= 0 {
		b.Total = 1 << 30
	}
	b.Total = max(b.Total, 8*block)
	// Both streams of the only command always fit, with what belongs to a ring.
	b.Command = min(b.Command, b.Total/2-2*block)
	return b
}

// tail is how much of a stream's budget its newest bytes have.
func (b Budget) tail() int64 { return max(1, b.Command/4) }

// head is how much its first bytes have.
func (b Budget) head() int64 { return b.Command - b.Command/4 }

// Log is the outputs of the commands of one workspace. Its methods are safe for
// concurrent use. Two Logs must not have one folder at the same time.
type Log struct {
	dir    string
	budget Budget

	mu       sync.Mutex      // guards the rest; may be taken while a stream.mu is held, not the other way
	loaded   bool            // files has what earlier processes left
	files    map[int]sizes   // by sequence
	finished []int           // the sequences of files that may be dropped, oldest first
	running  map[int]*Output // by sequence
	total    int64           // bytes of all files, in blocks
}

// Open returns the log in the folder dir. Nothing is read or made before that is
// needed: the folder is made for the first byte of output.
func Open(dir string, b Budget) *Log {
	return &Log{dir: dir, budget: b.withDefaults(), files: map[int]sizes{}, running: map[int]*Output{}}
}

// Begin returns the output of a command that starts, with which whatever is kept
// under this sequence is replaced. The caller closes it.
func (l *Log) Begin(sequence int) *Output {
	o := &Output{log: l, sequence: sequence}
	o.stdout = &stream{output: o, index: stdout}
	o.stderr = &stream{output: o, index: stderr}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.load()
	l.drop(sequence)
	l.running[sequence] = o
	return o
}

// Bytes returns what the log takes on the disk.
func (l *Log) Bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.load()
	return l.total
}

// Clear removes the folder and all that is in it. Outputs of commands that still
// run go on to take and to count, and keep nothing any more. A folder that is not
// there is no error.
func (l *Log) Clear() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files, l.finished, l.running, l.total, l.loaded = map[int]sizes{}, nil, map[int]*Output{}, 0, false
	if err := os.RemoveAll(l.dir); err != nil {
		return api.Errorf(api.KindStorage, "command log %s cannot be removed: %w", l.dir, err).
			WithHint("check the disk and the owner of the folder")
	}
	return nil
}

// The streams of a command, as indexes of sizes.
const (
	stdout = iota
	stderr
)

// path is the file of a stream.
func (l *Log) path(sequence, index int) string {
	return filepath.Join(l.dir, fmt.Sprintf("%06d.%s", sequence, [...]string{"stdout", "stderr"}[index]))
}

// tailSuffix makes the name of a stream's ring from the name of its file.
const tailSuffix = ".tail"

// create makes a file of a running output, and the folder for the first one.
func (l *Log) create(o *Output, path string) (*os.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running[o.sequence] != o {
		return nil, errCleared
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}
