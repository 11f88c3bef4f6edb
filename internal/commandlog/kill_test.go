package commandlog

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// helperDir is set in the environment of a copy of this test that only writes.
const helperDir = "COMMANDLOG_HELPER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		writeForever(dir)
	}
	os.Exit(m.Run())
}

var helperBudget = Budget{Command: 4 << 20}

// writeForever writes endless to the log in dir until it is killed.
func writeForever(dir string) {
	o := Open(dir, helperBudget).Begin(1)
	random := rand.New(rand.NewPCG(3, uint64(os.Getpid())))
	for at := 0; ; {
		b := endless(at, 1+random.IntN(256<<10))
		o.Stdout().Write(b)
		at += len(b)
	}
}

// cycle has a length that no size of a file is a multiple of.
var cycle = sample(14 * 99_991)

// endless returns n bytes of cycle over and over, from byte number at on.
func endless(at, n int) []byte {
	b := make([]byte, 0, n)
	for len(b) < n {
		rest := cycle[(at+len(b))%len(cycle):]
		b = append(b, rest[:min(len(rest), n-len(b))]...)
	}
	return b
}

// TestKilled kills a process that writes, at any moment, and looks at what it
// left: the beginning, and an end without a hole.
func TestKilled(t *testing.T) {
	for i := range 8 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			dir := t.TempDir()
			l := Open(dir, helperBudget)
			helper := exec.Command(os.Args[0])
			helper.Env = append(os.Environ(), helperDir+"="+dir)
			if err := helper.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor := l.path(1, stdout)
			if i > 0 {
				waitFor += tailSuffix
			}
			for {
				if _, err := os.Stat(waitFor); err == nil {
					break
				} else if !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
			time.Sleep(time.Duration(rand.IntN(i+1)*15_000) * time.Microsecond)
			helper.Process.Kill()
			helper.Wait()

			before := l.Bytes()
			text := readText(t, l, 1, true, -1, 100<<20).text
			head, tail, _ := strings.Cut(text, "\n[... ")
			var gap int
			if tail != "" {
				if _, err := fmt.Sscanf(tail, "%d bytes left out ...]\n", &gap); err != nil {
					t.Fatal(err)
				}
				_, tail, _ = strings.Cut(tail, "\n")
			}
			t.Logf("%d bytes, %d left out, %d bytes; %d on the disk", len(head), gap, len(tail), before)
			if head != string(endless(0, len(head))) || tail != string(endless(len(head)+gap, len(tail))) {
				t.Error("not what was written")
			}
			if want := helperBudget.tail() - 256<<10; gap > 0 && (int64(len(head)) != helperBudget.head() || int64(len(tail)) < want) {
				t.Errorf("only %d and %d bytes are left", len(head), len(tail))
			}
			if got := names(t, dir); len(got) != 1 {
				t.Errorf("files %q", got)
			}
			checkAccounts(t, l)
			if b, err := os.ReadFile(l.path(1, stdout)); err != nil || string(b) != text {
				t.Errorf("the file reads otherwise: %v", err)
			}
		})
	}
}
