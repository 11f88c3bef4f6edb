package commandlog

import (
	"io"

	"pyro/api"
)

// Output takes what one command writes.
type Output struct {
	log            *Log
	sequence       int
	stdout, stderr *stream
}

// Sizes are how many bytes a command wrote, kept or not.
type Sizes struct {
	StdoutBytes, StderrBytes int64
}

// Stdout returns the writer for the command's stdout. It never fails, it may be
// used at the same time as Stderr, and what comes after Close is dropped.
func (o *Output) Stdout() io.Writer { return o.stdout }

// Stderr returns the writer for the command's stderr, likewise.
func (o *Output) Stderr() io.Writer { return o.stderr }

// Err tells why some of the output is not kept: the host's disk is full or
// failing, or running commands fill the log's budget (kind storage). It is nil if
// all is as it should be; what Budget.Command leaves out is no error.
func (o *Output) Err() error {
	for _, s := range []*stream{o.stdout, o.stderr} {
		if err := s.failure(); err != nil {
			return api.Errorf(api.KindStorage, "what command %d writes to %s is not kept any more: %w", o.sequence, s.name(), err).
				WithHint("free some space on the host, for example with: pyro env prune")
		}
	}
	return nil
}

// Close writes what is still in memory, puts the tails in their places, and
// returns how much the command wrote, with Err. Calling it again only repeats the
// answer.
func (o *Output) Close() (Sizes, error) {
	s := Sizes{StdoutBytes: o.stdout.close(), StderrBytes: o.stderr.close()}
	o.log.finish(o)
	return s, o.Err()
}
