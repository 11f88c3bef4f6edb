package commandlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

// sample returns n bytes that are text, and nowhere the same.
func sample(n int) []byte {
	b := make([]byte, 0, n+14)
	for i := 0; len(b) < n; i++ {
		b = append(b, "line 00000000\n"...)
		for at, rest := len(b)-2, i; rest > 0; at, rest = at-1, rest/10 {
			b[at] += byte(rest % 10)
		}
	}
	return b[:n]
}

// write gives b to w in pieces of random size.
func write(t testing.TB, w io.Writer, b []byte, random *rand.Rand) {
	t.Helper()
	for len(b) > 0 {
		n := min(len(b), 1+random.IntN(1+random.IntN(4*bufferSize)))
		if k, err := w.Write(b[:n]); k != n || err != nil {
			t.Fatalf("wrote %d of %d: %v", k, n, err)
		}
		b = b[n:]
	}
}

// run writes a finished command to the log.
func run(t testing.TB, l *Log, sequence int, stdout, stderr string) {
	t.Helper()
	o := l.Begin(sequence)
	io.WriteString(o.Stdout(), stdout)
	io.WriteString(o.Stderr(), stderr)
	s, err := o.Close()
	if err != nil {
		t.Fatal(err)
	}
	if want := (Sizes{int64(len(stdout)), int64(len(stderr))}); s != want {
		t.Fatalf("sizes %+v, want %+v", s, want)
	}
}

func readText(t testing.TB, l *Log, sequence int, stdout bool, total int64, limit int) excerpt {
	t.Helper()
	var e excerpt
	var err error
	e.text, e.truncated, e.path, err = l.Read(sequence, stdout, total, limit)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// names lists the files of a log with their modes.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, info.Mode().String()+" "+e.Name())
	}
	return all
}

func TestSmallOutputs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ws", "1")
	l := Open(dir, Budget{})
	run(t, l, 1, "out\xff\n", "err\n")
	run(t, l, 2, "", "only err")
	run(t, l, 3, "", "")
	if d := cmp.Diff([]string{"-rw------- 000001.stderr", "-rw------- 000001.stdout", "-rw------- 000002.stderr"}, names(t, dir)); d != "" {
		t.Error(d)
	}
	for _, l := range []*Log{l, Open(dir, Budget{})} {
		for _, tc := range []struct {
			sequence int
			stdout   bool
			total    int64
			want     excerpt
		}{
			{1, true, 5, excerpt{"out\uFFFD\n", false, filepath.Join(dir, "000001.stdout")}},
			{1, true, -1, excerpt{"out\uFFFD\n", false, filepath.Join(dir, "000001.stdout")}},
			{1, true, 0, excerpt{"out\uFFFD\n", false, filepath.Join(dir, "000001.stdout")}},
			{1, true, 9, excerpt{"out\uFFFD\n\n[... 4 bytes left out ...]\n", true, filepath.Join(dir, "000001.stdout")}},
			{1, false, 4, excerpt{"err\n", false, filepath.Join(dir, "000001.stderr")}},
			{2, true, 0, excerpt{}},
			{2, false, 8, excerpt{"only err", false, filepath.Join(dir, "000002.stderr")}},
			{3, true, -1, excerpt{}},
			{4, true, 7, excerpt{"\n[... 7 bytes left out ...]\n", true, ""}},
		} {
			if got := readText(t, l, tc.sequence, tc.stdout, tc.total, 1000); got != tc.want {
				t.Errorf("command %d, stdout %t, total %d: got %+q, want %+q", tc.sequence, tc.stdout, tc.total, fmt.Sprint(got), fmt.Sprint(tc.want))
			}
		}
		if n := l.Bytes(); n != 3*block {
			t.Errorf("%d bytes", n)
		}
	}
}

// TestAsBound compares Read with api.Bound for every length around the borders,
// while the command runs, after it and in a new process.
func TestAsBound(t *testing.T) {
	dir := t.TempDir()
	l := Open(dir, Budget{})
	sequence := 0
	for _, n := range []int{1, 9, 10, 11, 12, 20, 100, bufferSize, bufferSize + 1, 3*bufferSize + 7} {
		sequence++
		b := sample(n)
		b[n/2] = 0xff
		o := l.Begin(sequence)
		write(t, o.Stderr(), b, rand.New(rand.NewPCG(1, uint64(n))))
		check := func(l *Log, total int64) {
			t.Helper()
			for _, limit := range []int{-1, 0, 1, 9, 10, 11, 20, 1000, n - 1, n, n + 1, 1 << 20} {
				want, cut := api.Bound(b, int64(n), max(0, limit))
				if got := readText(t, l, sequence, false, total, limit); got.text != want || got.truncated != cut {
					t.Errorf("%d bytes, limit %d: got %.100q, %t, want %.100q, %t", n, limit, got.text, got.truncated, want, cut)
				}
			}
		}
		check(l, 0)
		if _, err := o.Close(); err != nil {
			t.Fatal(err)
		}
		check(l, int64(n))
		check(Open(dir, Budget{}), -1)
	}
}

// TestCommandBudget writes more and more than a stream keeps, and looks at the
// file and at excerpts before and after its end.
func TestCommandBudget(t *testing.T) {
	const command = 256 << 10
	const head, tail = command / 4 * 3, command / 4
	dir := t.TempDir()
	l := Open(dir, Budget{Command: command})
	for sequence, n := range []int{head - 1, head, head + 1, command - 1, command, command + 1, command + 20, command + 100, command + tail - 1, 2*command + 12345, 5 * command} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			b := sample(n)
			want := string(b)
			if n > command {
				want = string(b[:head]) + fmt.Sprintf("\n[... %d bytes left out ...]\n", n-command) + string(b[n-tail:])
			}
			o := l.Begin(sequence)
			write(t, o.Stdout(), b, rand.New(rand.NewPCG(2, uint64(n))))

			excerpts := func(l *Log, total int64) (all []excerpt) {
				for _, limit := range []int{1000, tail, 2*tail + 2, head + 1, command - 1, command, command + 1, 10 * command} {
					e := readText(t, l, sequence, true, total, limit)
					if e.truncated != (n > min(limit, command)) {
						t.Errorf("limit %d: truncated is %t", limit, e.truncated)
					}
					if limit >= command && e.text != want {
						t.Errorf("limit %d: %d bytes differ", limit, len(e.text))
					}
					bounded, _ := api.Bound(b, int64(n), limit)
					if n > command { // neither half reaches over the gap
						first, last := min(limit/2, head), min(limit/2, tail)
						bounded = string(b[:first]) + mark(int64(n-first-last)) + string(b[n-last:])
					}
					if limit < command && e.text != bounded {
						t.Errorf("limit %d: %d bytes differ from the %d wanted", limit, len(e.text), len(bounded))
					}
					all = append(all, e)
				}
				return all
			}
			during := excerpts(l, 0)
			if s, err := o.Close(); err != nil || s.StdoutBytes != int64(n) {
				t.Fatal(s, err)
			}
			for _, got := range [][]excerpt{excerpts(l, int64(n)), excerpts(l, -1), excerpts(l, 0), excerpts(Open(dir, Budget{Command: command}), -1)} {
				if !slices.Equal(got, during) {
					t.Error("what is read after the end differs from what was read before")
				}
			}
			got, err := os.ReadFile(l.path(sequence, stdout))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != want {
				t.Errorf("the file has %d bytes that differ from the %d wanted", len(got), len(want))
			}
		})
	}
	for _, name := range names(t, dir) {
		if strings.HasSuffix(name, tailSuffix) {
			t.Errorf("left over: %s", name)
		}
	}
	checkAccounts(t, l)
}

// checkAccounts compares what a log believes its files to take with the files.
func checkAccounts(t testing.TB, l *Log) {
	t.Helper()
	if got, want := l.Bytes(), Open(l.dir, l.budget).Bytes(); got != want {
		t.Errorf("the log counts %d bytes, the folder has %d", got, want)
	}
}

// A command that writes the line that stands for a gap does not mislead Read.
func TestFalseMark(t *testing.T) {
	const command = 1 << 14
	l := Open(t.TempDir(), Budget{Command: command})
	for i, gap := range []int{1, 20, 5000} {
		b := sample(int(l.budget.head()))
		b = append(b, mark(int64(gap))...)
		b = append(b, "end"...)
		run(t, l, i+1, string(b), "")
		want := excerpt{string(b), false, l.path(i+1, stdout)}
		if got := readText(t, l, i+1, true, int64(len(b)), command); got != want {
			t.Errorf("gap %d: got %d bytes, truncated %t", gap, len(got.text), got.truncated)
		}
	}
}

func TestTotalBudget(t *testing.T) {
	dir := t.TempDir()
	l := Open(dir, Budget{Command: 16 << 10, Total: 64 << 10})
	long := l.Begin(1)
	io.WriteString(long.Stdout(), "still runs")
	readText(t, l, 1, true, 0, 10) // brings it to the disk
	for i := range 20 {
		run(t, l, i+2, string(sample(10<<10)), "x")
		if n := l.Bytes(); n > 64<<10 {
			t.Fatalf("%d bytes after command %d", n, i+2)
		}
		checkAccounts(t, l)
	}
	// A block for command 1 and four for each other one: three of these have room.
	var left []string
	for i := range 21 {
		if readText(t, l, i+1, true, 10<<10, 10).path != "" {
			left = append(left, fmt.Sprint(i+1))
		}
	}
	if got := strings.Join(left, " "); got != "1 19 20 21" {
		t.Errorf("the outputs of commands %s are left", got)
	}
	if got := readText(t, l, 18, true, 10<<10, 10); got != (excerpt{"\n[... 10240 bytes left out ...]\n", true, ""}) {
		t.Errorf("a dropped one reads as %+v", got)
	}
	// A new process goes on where that one was.
	if _, err := long.Close(); err != nil {
		t.Fatal(err)
	}
	l = Open(dir, l.budget)
	run(t, l, 22, string(sample(14<<10)), "") // to which command 1 has ended, as the oldest
	if got := names(t, dir); len(got) != 7 || !strings.HasSuffix(got[0], "000019.stderr") {
		t.Errorf("files %q", got)
	}
	checkAccounts(t, l)
}

// When all of the budget is in use by commands that run, they stop keeping, say
// so, and read as what they were.
func TestRunningCommandsFillTotal(t *testing.T) {
	l := Open(t.TempDir(), Budget{Command: 20 << 10, Total: 64 << 10})
	var outputs []*Output
	for i := range 5 {
		outputs = append(outputs, l.Begin(i+1))
		for range 10 {
			outputs[i].Stdout().Write(sample(4 << 10))
			readText(t, l, i+1, true, 0, 10)
		}
	}
	if n := l.Bytes(); n > 64<<10 {
		t.Errorf("%d bytes", n)
	}
	checkAccounts(t, l)
	for i, o := range outputs {
		got := readText(t, l, i+1, true, 0, 1<<20)
		s, err := o.Close()
		if s.StdoutBytes != 40<<10 {
			t.Errorf("command %d: %+v", i+1, s)
		}
		if i < 2 && err != nil {
			t.Error(err)
		}
		if i > 2 && (api.KindOf(err) != api.KindStorage || api.AsError(err).Hint == "" || !strings.Contains(err.Error(), fmt.Sprintf("command %d", i+1))) {
			t.Errorf("command %d: %v", i+1, err)
		}
		if !got.truncated {
			t.Errorf("command %d is whole", i+1)
		}
		if after := readText(t, l, i+1, true, s.StdoutBytes, 1<<20); after != got {
			t.Errorf("command %d: after its end %d bytes, before %d", i+1, len(after.text), len(got.text))
		}
	}
}

// A byte is on the disk 100 ms after it was written, without anybody asking; and
// nothing before that.
func TestFlush(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := Open(dir, Budget{})
		o := l.Begin(1)
		file := func() string {
			b, err := os.ReadFile(filepath.Join(dir, "000001.stdout"))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			return string(b)
		}
		io.WriteString(o.Stdout(), "a")
		time.Sleep(flushAfter / 2)
		io.WriteString(o.Stdout(), "b")
		synctest.Wait()
		if got := file(); got != "" {
			t.Errorf("flushed at once: %q", got)
		}
		time.Sleep(flushAfter / 2)
		synctest.Wait()
		if got := file(); got != "ab" {
			t.Errorf("after 100 ms: %q", got)
		}
		io.WriteString(o.Stdout(), "c")
		time.Sleep(flushAfter)
		synctest.Wait()
		if got := file(); got != "abc" {
			t.Errorf("after another 100 ms: %q", got)
		}
		io.WriteString(o.Stdout(), "d")
		if got := readText(t, l, 1, true, 0, 10); got.text != "abcd" || file() != "abcd" {
			t.Errorf("a read gave %q with %q on the disk", got.text, file())
		}
		o.Close()
	})
}

func TestClear(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := Open(dir, Budget{Command: 16 << 10})
	if err := l.Clear(); err != nil {
		t.Fatal(err)
	}
	run(t, l, 1, "one", "")
	writes, silent, starts := l.Begin(2), l.Begin(3), l.Begin(4)
	writes.Stdout().Write(sample(100 << 10)) // has a full ring
	ends := l.Begin(2000)                    // will end without another write
	ends.Stdout().Write(sample(100 << 10))
	starts.Stdout().Write(sample(100))
	readText(t, l, 4, true, 0, 0) // has a file
	if err := l.Clear(); err != nil {
		t.Fatal(err)
	}
	if n := l.Bytes(); n != 0 {
		t.Errorf("%d bytes", n)
	}
	// The same sequence again, in the same folder: the old ones must not touch it.
	next, last := l.Begin(2), l.Begin(2000)
	next.Stdout().Write(sample(100 << 10))
	last.Stdout().Write(sample(100 << 10))
	if s, err := ends.Close(); err != nil || s != (Sizes{100 << 10, 0}) {
		t.Errorf("%+v, %v", s, err)
	}
	for _, o := range []*Output{writes, silent} {
		o.Stdout().Write(sample(100 << 10))
		o.Stderr().Write(sample(100 << 10))
	}
	starts.Stdout().Write(sample(100 << 10))
	for _, o := range []*Output{writes, starts} {
		if o.stdout.file != nil || o.stdout.ring != nil {
			t.Error("a file that is unlinked is still open")
		}
	}
	if n := l.Bytes(); n != 2*(16<<10+block) {
		t.Errorf("%d bytes with two commands", n)
	}
	if _, err := starts.Close(); err != nil {
		t.Error(err)
	}
	if s, err := silent.Close(); err != nil || s != (Sizes{100 << 10, 100 << 10}) {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := writes.Close(); err != nil || s != (Sizes{200 << 10, 100 << 10}) {
		t.Errorf("%+v, %v", s, err)
	}
	if d := cmp.Diff([]string{"-rw------- 000002.stdout", "-rw------- 000002.stdout.tail", "-rw------- 002000.stdout", "-rw------- 002000.stdout.tail"}, names(t, dir)); d != "" {
		t.Error(d)
	}
	next.Close()
	last.Close()
	if d := cmp.Diff([]string{"-rw------- 000002.stdout", "-rw------- 002000.stdout"}, names(t, dir)); d != "" {
		t.Error(d)
	}
	checkAccounts(t, l)
	if err := l.Clear(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	l := Open(t.TempDir(), Budget{})
	o := l.Begin(1)
	io.WriteString(o.Stdout(), "a")
	for range 2 {
		if s, err := o.Close(); err != nil || s != (Sizes{StdoutBytes: 1}) {
			t.Errorf("%+v, %v", s, err)
		}
		if n, err := o.Stdout().Write([]byte("late")); n != 4 || err != nil {
			t.Errorf("after Close: %d, %v", n, err)
		}
	}
	if got := readText(t, l, 1, true, 1, 10); got.text != "a" {
		t.Errorf("%q", got.text)
	}
	// The same sequence again begins anew.
	run(t, l, 1, "", "b")
	if got := readText(t, l, 1, true, 0, 10); got != (excerpt{}) {
		t.Errorf("%+v", got)
	}
	checkAccounts(t, l)
}

// Writers, readers and the end of several commands at once, for the race
// detector; every byte is accounted for.
func TestConcurrent(t *testing.T) {
	l := Open(t.TempDir(), Budget{Command: 64 << 10, Total: 512 << 10})
	var wg sync.WaitGroup
	b := sample(300 << 10)
	for i := range 8 {
		wg.Go(func() {
			o := l.Begin(i + 1)
			var streams sync.WaitGroup
			for k, w := range []io.Writer{o.Stdout(), o.Stderr(), o.Stdout()} {
				streams.Go(func() { write(t, w, b, rand.New(rand.NewPCG(uint64(i), uint64(k)))) })
			}
			streams.Go(func() {
				for range 20 {
					readText(t, l, i+1, true, 0, 10<<10)
					l.Bytes()
					o.Err()
				}
			})
			streams.Wait()
			if s, _ := o.Close(); s != (Sizes{600 << 10, 300 << 10}) {
				t.Errorf("%+v", s)
			}
		})
	}
	wg.Wait()
	if n := l.Bytes(); n > 512<<10 {
		t.Errorf("%d bytes", n)
	}
	checkAccounts(t, l)
}
