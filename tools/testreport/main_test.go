package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	for _, tc := range []struct {
		name, events string
		shown        []string
		hidden       []string
	}{
		{
			name: "passed tests are counted, not shown",
			events: `{"Action":"output","Package":"p","Test":"TestA","Output":"chatter\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}`,
			shown:  []string{"ok  \tp\t0.1s\n", "tests: 1 passed, 0 failed, 0 skipped\n"},
			hidden: []string{"chatter", "PASS"},
		},
		{
			name: "a failed test is shown and counted once",
			events: `{"Action":"output","Package":"p","Test":"TestA","Output":"got 1, want 2\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p"}`,
			shown: []string{"got 1, want 2\n", "tests: 0 passed, 1 failed, 0 skipped\n"},
		},
		{
			name: "a skipped test tells its reason",
			events: `{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:9: needs fsck.erofs\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p"}`,
			shown: []string{"skipped: p TestA: a_test.go:9: needs fsck.erofs\n", "tests: 0 passed, 0 failed, 1 skipped\n"},
		},
		{
			name: "a crash shows what the running test had said",
			events: `{"Action":"output","Package":"p","Test":"TestA","Output":"panic: boom\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}`,
			shown: []string{"panic: boom\n", "tests: 0 passed, 1 failed, 0 skipped\n"},
		},
		{
			name: "a package that does not compile is a failure",
			events: `{"Action":"build-output","ImportPath":"p","Output":"p.go:1: undefined: x\n"}
{"Action":"build-fail","ImportPath":"p"}
{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}
{"Action":"fail","Package":"p"}`,
			shown: []string{"undefined: x", "tests: 0 passed, 1 failed, 0 skipped\n"},
		},
		{
			name:   "what is no event is passed on",
			events: "fatal error: all goroutines are asleep",
			shown:  []string{"all goroutines are asleep"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			r := newReport(&out)
			if err := r.read(strings.NewReader(tc.events)); err != nil {
				t.Fatal(err)
			}
			r.close()
			for _, s := range tc.shown {
				if !strings.Contains(out.String(), s) {
					t.Errorf("%q is not shown in:\n%s", s, out.String())
				}
			}
			for _, s := range tc.hidden {
				if strings.Contains(out.String(), s) {
					t.Errorf("%q is shown in:\n%s", s, out.String())
				}
			}
		})
	}
}
