// Package failpoint lets a test end the process, or fail an operation, at a
// named step, so that what a crash or a full disk leaves behind can be seen.
//
// The variable PYRO_FAILPOINTS holds pairs NAME=ACTION with commas between them.
// An action is "kill" (the process sends itself SIGKILL, so that nothing is
// cleaned up), "enospc" (the step fails as on a full disk), "pause" (the step
// takes a second), each optionally with ":N" to mean the Nth time that the step
// is reached, once. Without the variable a step costs one comparison.
package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Env is the variable that names the points.
const Env = "PYRO_FAILPOINTS"

type point struct {
	action string
	once   bool // acts one time only, when it is reached the left-th time from now
	left   int
}

var (
	mu     sync.Mutex
	points = parse(os.Getenv(Env))
)

func parse(spec string) map[string]*point {
	if spec == "" {
		return nil
	}
	m := map[string]*point{}
	for pair := range strings.SplitSeq(spec, ",") {
		name, action, _ := strings.Cut(strings.TrimSpace(pair), "=")
		action, nth, once := strings.Cut(action, ":")
		p := &point{action: action, once: once}
		p.left, _ = strconv.Atoi(nth)
		m[name] = p
	}
	return m
}

// Set replaces the points, for tests in the same process.
func Set(spec string) {
	mu.Lock()
	defer mu.Unlock()
	points = parse(spec)
}

// Hit is called at the step name. It returns the error that the step shall fail
// with, or nil.
func Hit(name string) error {
	switch act(name) {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal takes a moment
	case "enospc":
		return fmt.Errorf("fail point %s: %w", name, syscall.ENOSPC)
	case "pause":
		time.Sleep(time.Second)
	}
	return nil
}

// act returns what shall happen at the step now.
func act(name string) string {
	mu.Lock()
	defer mu.Unlock()
	p := points[name]
	if p == nil {
		return ""
	}
	if !p.once {
		return p.action
	}
	if p.left--; p.left != 0 {
		return ""
	}
	return p.action
}
