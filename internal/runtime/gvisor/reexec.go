package gvisor

import (
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/cli"
	"gvisor.dev/gvisor/runsc/cmd"
	"gvisor.dev/gvisor/runsc/cmd/sentry/sentrycmd"
	"gvisor.dev/gvisor/runsc/cmd/util"
)

// sandboxArg0 and goferArg0 are the names under which runsc starts its own
// executable again.
const (
	sandboxArg0 = "runsc-sandbox"
	goferArg0   = "runsc-gofer"
)

// IsReexec says whether this process was started by gVisor's machinery to be
// a sandbox or a gofer instead of pyro's command line. main asks it first.
func IsReexec() bool {
	switch filepath.Base(os.Args[0]) {
	case sandboxArg0, goferArg0, "runsc[getUsernsFD]":
		return true
	}
	return os.Args[0] == "/proc/self/exe"
}

// ReexecMain is main for such a process. It does not return.
func ReexecMain() {
	role := filepath.Base(os.Args[0])
	if role == sandboxArg0 || role == goferArg0 {
		closeLeaked(os.Args)
		collectAfterStart()
	}
	if role == sandboxArg0 {
		if shape, ok := shapeOf(os.Args); ok {
			os.Args = shape.apply(os.Args)
		}
	}
	cli.Run(nil, map[util.SubCommand]string{
		new(sentrycmd.Boot):   "internal",
		new(cmd.Gofer):        "internal",
		new(sentrycmd.Umount): "internal",
	}, nil)
	os.Exit(0)
}

// startTimeMax is by when a sandbox has started.
const startTimeMax = 1500 * time.Millisecond

// collectAfterStart keeps the garbage collector out of the way while a sandbox
// starts, which saves some 9 ms, and then gives back what the start needed,
// some 3 MB for each sandbox.
func collectAfterStart() {
	debug.SetGCPercent(400)
	time.AfterFunc(startTimeMax, func() {
		debug.SetGCPercent(100)
		debug.FreeOSMemory()
	})
}

// shape is what the sandbox process must know of itself before gVisor's code
// runs, for which the library has no parameter. It stands in the name of the
// bundle's folder, because the process starts as a user who can read no file
// of ours and with an empty environment.
type shape struct {
	memory int64
	cpus   []int
}

const shapePrefix = "guest."

// String is the name of the bundle's folder: "guest.MEMORY.CPU.CPU...".
func (s shape) String() string {
	name := shapePrefix + strconv.FormatInt(s.memory, 10)
	for _, cpu := range s.cpus {
		name += "." + strconv.Itoa(cpu)
	}
	return name
}

func parseShape(name string) (shape, bool) {
	rest, ok := strings.CutPrefix(name, shapePrefix)
	if !ok {
		return shape{}, false
	}
	fields := strings.Split(rest, ".")
	memory, err := strconv.ParseInt(fields[0], 10, 64)
	s := shape{memory: memory}
	for _, f := range fields[1:] {
		cpu, cpuErr := strconv.Atoi(f)
		s.cpus = append(s.cpus, cpu)
		err = errors.Join(err, cpuErr)
	}
	return s, err == nil
}

func shapeOf(args []string) (shape, bool) {
	for _, a := range args {
		if dir, ok := strings.CutPrefix(a, "--bundle="); ok {
			return parseShape(filepath.Base(dir))
		}
	}
	return shape{}, false
}

// apply makes free(1) and nproc(1) tell the truth in the guest. It replaces
// the value of boot's --total-memory and adds --cpu-num, both of which the
// library takes from cgroups alone, and binds the process to its CPUs.
func (s shape) apply(args []string) []string {
	for i := range args[:len(args)-1] {
		if args[i] == "--total-memory" {
			args[i+1] = strconv.FormatInt(s.memory, 10)
		}
	}
	if len(s.cpus) == 0 {
		return args
	}
	bindAllThreads(affinity(s.cpus))
	for _, a := range args {
		if strings.HasPrefix(a, "--cpu-num") {
			return args // started once more, to become nobody
		}
	}
	last := len(args) - 1 // the container's id follows all flags
	return slices.Insert(args, last, "--cpu-num="+strconv.Itoa(len(s.cpus)))
}

// bindAllThreads binds the threads that the Go runtime has made so far; those
// it makes later inherit the binding. A thread that is made meanwhile by one
// not yet bound is caught by the second round.
func bindAllThreads(set *unix.CPUSet) {
	for range 2 {
		tasks, _ := filepath.Glob("/proc/self/task/[0-9]*")
		for _, task := range tasks {
			if tid, err := strconv.Atoi(filepath.Base(task)); err == nil {
				_ = unix.SchedSetaffinity(tid, set)
			}
		}
	}
}
