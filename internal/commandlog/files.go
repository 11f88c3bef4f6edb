package commandlog

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
)

// block is what most file systems give to a file at a time.
const block = 4 << 10

// sizes are the bytes that the stdout and the stderr of a command have in files.
type sizes [2]int64

// onDisk is their sum in whole blocks.
func (s sizes) onDisk() int64 {
	var sum int64
	for _, n := range s {
		sum += (n + block - 1) &^ (block - 1)
	}
	return sum
}

var (
	// errCleared ends what is kept of an output that is not the log's any more.
	// It is nobody's failure and never leaves the package.
	errCleared = errors.New("the log was cleared")
	// errBudget ends what is kept when nothing is left to drop.
	errBudget = errors.New("the outputs of running commands fill the command log of the workspace")
)

// load looks once at what earlier processes left. The caller holds mu.
func (l *Log) load() {
	if l.loaded {
		return
	}
	entries, err := os.ReadDir(l.dir)
	// A folder that cannot be listed is tried again the next time.
	l.loaded = err == nil || errors.Is(err, fs.ErrNotExist)
	found := map[int]sizes{}
	for _, e := range entries {
		sequence, index, ok := parseName(e.Name())
		if _, known := l.files[sequence]; !ok || known {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			s := found[sequence]
			s[index] += info.Size()
			found[sequence] = s
		}
	}
	for sequence, s := range found {
		l.files[sequence] = s
		l.total += s.onDisk()
		l.finished = append(l.finished, sequence)
	}
	slices.Sort(l.finished)
}

// parseName is the inverse of Log.path, for rings as well.
func parseName(name string) (sequence, index int, ok bool) {
	number, kind, _ := strings.Cut(strings.TrimSuffix(name, tailSuffix), ".")
	switch kind {
	case "stdout":
		index = stdout
	case "stderr":
		index = stderr
	default:
		return 0, 0, false
	}
	sequence, err := strconv.Atoi(number)
	return sequence, index, err == nil
}

// reserve makes room for n more bytes of a running output, at the cost of the
// oldest finished ones; a negative n gives room back. Without room the error is
// errBudget, and nothing is reserved.
func (l *Log) reserve(o *Output, index int, n int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running[o.sequence] != o {
		return errCleared
	}
	l.resize(o.sequence, index, n)
	for n > 0 && l.total > l.budget.Total {
		if len(l.finished) == 0 {
			l.resize(o.sequence, index, -n)
			return errBudget
		}
		l.drop(l.finished[0])
	}
	return nil
}

// resize notes that a stream has n more bytes in files. The caller holds mu.
func (l *Log) resize(sequence, index int, n int64) {
	s := l.files[sequence]
	l.total -= s.onDisk()
	s[index] += n
	l.total += s.onDisk()
	l.files[sequence] = s
}

// drop removes the files of a command, if there are any. The caller holds mu; it
// takes some 10 ms for the largest file.
func (l *Log) drop(sequence int) {
	s, ok := l.files[sequence]
	if !ok {
		return
	}
	for index := range s {
		// One that cannot be removed is not counted any more all the same: else
		// it would cost every younger one its place.
		os.Remove(l.path(sequence, index))
		os.Remove(l.path(sequence, index) + tailSuffix)
	}
	delete(l.files, sequence)
	l.total -= s.onDisk()
	if i, ok := slices.BinarySearch(l.finished, sequence); ok {
		l.finished = slices.Delete(l.finished, i, i+1)
	}
}

// finish makes the files of an output ones that may be dropped.
func (l *Log) finish(o *Output) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running[o.sequence] != o {
		return
	}
	delete(l.running, o.sequence)
	if _, ok := l.files[o.sequence]; ok {
		i, _ := slices.BinarySearch(l.finished, o.sequence)
		l.finished = slices.Insert(l.finished, i, o.sequence)
	}
}

// removeTail removes the ring of a stream that was put in its place, unless the
// name may be another's by now.
func (l *Log) removeTail(o *Output, index int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running[o.sequence] == o {
		os.Remove(l.path(o.sequence, index) + tailSuffix)
	}
}
