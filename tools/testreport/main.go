// Command testreport runs "go test -json" with the arguments it is given and
// tells the result the way a person reads it.
//
// It shows Go's own line for every package, the whole output of every test that
// failed, every skipped test with its reason, so that no test stays away
// unseen, and as its last line the counts:
//
//	tests: 412 passed, 0 failed, 3 skipped
//
// It ends with go test's exit code. With "-" as its only argument it reads the
// events from its input instead ("go tool test2json" makes them of the output
// of a compiled test) and ends with 1 if a test failed or there was none.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// event is one line of go test -json; see "go doc test2json".
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// report collects what the events tell.
type report struct {
	out                     io.Writer
	passed, failed, skipped int
	skips                   []string
	broken                  map[string]bool                // packages with a failed test
	output                  map[string]map[string][]string // of tests that have not ended, by package and test
}

func newReport(out io.Writer) *report {
	return &report{out: out, broken: map[string]bool{}, output: map[string]map[string][]string{}}
}

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(args []string) (int, error) {
	if len(args) == 1 && args[0] == "-" {
		return readOnly(os.Stdin)
	}
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 1, err
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	r := newReport(os.Stdout)
	readErr := r.read(stdout)
	waitErr := cmd.Wait()
	r.close()
	if exit, ok := errors.AsType[*exec.ExitError](waitErr); ok {
		return max(exit.ExitCode(), 1), readErr
	}
	return 0, errors.Join(readErr, waitErr)
}

func readOnly(in io.Reader) (int, error) {
	r := newReport(os.Stdout)
	err := r.read(in)
	r.close()
	if r.failed > 0 || r.passed == 0 {
		return 1, err
	}
	return 0, err
}

// read takes the event stream. Lines that are no events, such as the output of
// a crashed test binary, are shown as they are.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil {
				r.event(e)
			} else {
				fmt.Fprintf(r.out, "%s", line)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) event(e event) {
	switch {
	case e.Action == "build-output":
		fmt.Fprint(r.out, e.Output)
	case e.Test == "":
		r.packageEvent(e)
	case e.Action == "output":
		if r.output[e.Package] == nil {
			r.output[e.Package] = map[string][]string{}
		}
		r.output[e.Package][e.Test] = append(r.output[e.Package][e.Test], e.Output)
	case e.Action == "pass" || e.Action == "skip" || e.Action == "fail":
		r.testEnded(e)
		delete(r.output[e.Package], e.Test)
	}
}

func (r *report) testEnded(e event) {
	output := r.output[e.Package][e.Test]
	switch e.Action {
	case "pass":
		r.passed++
	case "skip":
		r.skipped++
		r.skips = append(r.skips, skipLine(e, output))
	case "fail":
		r.failed++
		r.broken[e.Package] = true
		fmt.Fprint(r.out, strings.Join(output, ""))
	}
}

// packageEvent shows go test's own line of a package. A package may fail
// without a failed test, because it does not compile, crashed or ran too long:
// that counts as one failure, and shows what its unfinished tests had said.
func (r *report) packageEvent(e event) {
	switch e.Action {
	case "output":
		if !strings.Contains(e.Output, "[no test files]") && e.Output != "PASS\n" {
			fmt.Fprint(r.out, e.Output)
		}
	case "fail":
		for _, lines := range r.output[e.Package] {
			fmt.Fprint(r.out, strings.Join(lines, ""))
		}
		if !r.broken[e.Package] {
			r.failed++
		}
	}
}

// skipLine makes one line of a skipped test: its name and its reason.
func skipLine(e event, output []string) string {
	reason := ""
	for _, line := range output {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "--- SKIP") {
			reason = line
		}
	}
	return fmt.Sprintf("%s %s: %s", e.Package, e.Test, reason)
}

func (r *report) close() {
	for _, line := range r.skips {
		fmt.Fprintln(r.out, "skipped:", line)
	}
	fmt.Fprintf(r.out, "tests: %d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
}
