package commandlog

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strconv"

	"pyro/api"
)

// excerpt is an answer of Log.Read.
type excerpt struct {
	text      string
	truncated bool
	path      string
}

// Read returns what a command wrote to stdout (or stderr) as api.Bound does: its
// beginning and end, together at most limit bytes, with a mark for what is left
// out. It works while the command runs, and reads no more than it returns. total
// is how much the command wrote; -1 is unknown and stands for what the files
// tell; for a command that runs it is not used. path is the file for people to
// look into, "" if nothing is kept or nothing was written; truncated tells which.
// An error is of kind storage.
func (l *Log) Read(sequence int, stdout bool, total int64, limit int) (text string, truncated bool, path string, err error) {
	t, err := l.excerpt(sequence, stdout, total, limit)
	if err != nil {
		return "", false, "", api.Errorf(api.KindStorage, "output of command %d in %s cannot be read: %w", sequence, l.dir, err).
			WithHint("check the disk and the owner of the folder")
	}
	return t.text, t.truncated, t.path, nil
}

func (l *Log) excerpt(sequence int, isStdout bool, total int64, limit int) (excerpt, error) {
	l.mu.Lock()
	o := l.running[sequence]
	l.mu.Unlock()
	if o != nil {
		s := o.stderr
		if isStdout {
			s = o.stdout
		}
		if t, ok, err := s.read(limit); ok {
			return t, err
		}
	}
	index := stderr
	if isStdout {
		index = stdout
	}
	return l.readFile(sequence, index, total, limit)
}

// readFile reads the file of a command that has ended.
func (l *Log) readFile(sequence, index int, total int64, limit int) (t excerpt, err error) {
	k := kept{total: total}
	path := l.path(sequence, index)
	tail := l.repair(sequence, index)
	if tail != nil {
		defer tail.file.Close()
	}
	file, err := os.Open(path)
	switch {
	case err == nil:
		defer file.Close()
		t.path = path
		if k, err = look(file, tail, l.budget.head(), total); err != nil {
			return t, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return t, err
	}
	t.text, t.truncated, err = k.text(limit)
	return t, err
}

// repair puts a tail that was left over in its place. If that cannot be done (the
// disk is full) it returns the tail.
func (l *Log) repair(sequence, index int) *ring {
	l.mu.Lock()
	defer l.mu.Unlock()
	path := l.path(sequence, index)
	if l.running[sequence] != nil {
		return nil
	}
	tail, err := openRing(path + tailSuffix)
	if errors.Is(err, errNoRing) {
		l.discard(sequence, index)
	}
	if err != nil {
		return nil // nearly always because there is none
	}
	l.load()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return tail
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return tail
	}
	head := min(info.Size(), tail.head)
	grown, err := tail.join(file, head)
	if err != nil {
		return tail
	}
	tail.file.Close()
	l.account(sequence, index, head+grown-info.Size())
	l.discard(sequence, index)
	return nil
}

// discard removes a ring that is of no use any more. The caller holds mu.
func (l *Log) discard(sequence, index int) {
	l.load()
	path := l.path(sequence, index) + tailSuffix
	if info, err := os.Lstat(path); err == nil && os.Remove(path) == nil {
		l.account(sequence, index, -info.Size())
	}
}

// account is resize for files that load may not have found. The caller holds mu.
func (l *Log) account(sequence, index int, n int64) {
	if _, ok := l.files[sequence]; ok {
		l.resize(sequence, index, n)
	}
}

// markLine is a mark of kept.text at the front.
var markLine = regexp.MustCompile(`^\n\[\.\.\. (\d{1,18}) bytes left out \.\.\.\]\n`)

// look finds out what of a stream is in its file and, if there is one, its ring.
// A file longer than head bytes has a mark there if something is left out.
func look(file *os.File, tail *ring, head, total int64) (kept, error) {
	info, err := file.Stat()
	if err != nil {
		return kept{}, err
	}
	size := info.Size()
	if tail != nil {
		size = min(size, tail.head)
		k := kept{total: max(total, tail.head+tail.written), head: section{file, 0, size}, tail: tail.sections()}
		k.gap = tail.head + tail.written - size - tail.kept()
		return k, nil
	}
	k := kept{total: max(total, size), head: section{file, 0, size}}
	if size <= head {
		return k, nil
	}
	line := make([]byte, min(64, size-head))
	if _, err := file.ReadAt(line, head); err != nil {
		return kept{}, err
	}
	m := markLine.FindSubmatch(line)
	if m == nil {
		return k, nil
	}
	rest := head + int64(len(m[0]))
	gap, _ := strconv.ParseInt(string(m[1]), 10, 64) // 18 digits always fit
	whole := head + gap + size - rest
	// A command can write such a line itself: then it wrote as much as there is, or
	// less than the line tells. A total smaller than the file can be is no evidence,
	// the record is of before the end.
	if old := total < size-int64(len(m[0])); !old && (total < whole || total == size && total != whole) {
		return k, nil
	}
	return kept{total: max(total, whole), head: section{file, 0, head}, gap: gap, tail: []section{{file, rest, size - rest}}}, nil
}
