package cli

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

func TestProgressIsThrottled(t *testing.T) {
	for _, tt := range []struct {
		name     string
		terminal bool
		every    time.Duration
		want     string
	}{
		{"plain", false, 3 * time.Second, "[pull] phase=download environment=e\n" +
			"[pull] phase=download environment=e done=3.0MiB total=10.0MiB unit=bytes percent=30\n" +
			"[pull] phase=download environment=e done=6.0MiB total=10.0MiB unit=bytes percent=60\n" +
			"[pull] phase=unpack environment=e last\n"},
		{"terminal", true, 4 * time.Second, "[pull] phase=download environment=e\n" +
			"\r\x1b[K[pull] phase=download environment=e done=4.0MiB total=10.0MiB unit=bytes percent=40" +
			"\r\x1b[K[pull] phase=unpack environment=e last\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out strings.Builder
				p := &progress{label: "pull", w: &out, terminal: tt.terminal, every: tt.every}
				for i := range int64(8) { // one event a second
					p.tell(api.Progress{Phase: "download", Environment: "e", Done: i << 20, Total: 10 << 20, Unit: "bytes"})
					time.Sleep(time.Second)
				}
				p.tell(api.Progress{Phase: "unpack", Environment: "e", Message: "last"})
				p.end()
				if diff := cmp.Diff(tt.want, out.String()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestAmount(t *testing.T) {
	for want, ev := range map[string]api.Progress{
		"": {},
		" done=5 total=10 unit=packages percent=50": {Done: 5, Total: 10, Unit: "packages"},
		" done=5 unit=files":                        {Done: 5, Unit: "files"},
		" done=1023B unit=bytes":                    {Done: 1023, Unit: "bytes"},
		" done=1.5GiB unit=bytes":                   {Done: 3 << 29, Unit: "bytes"},
	} {
		if got := amount(ev); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestSlowInterruptsStayTheCommands checks that only haste ends pyro itself.
func TestSlowInterruptsStayTheCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		signals, out := make(chan os.Signal), make(chan os.Signal, 16)
		f := &forwarder{running: make(chan struct{}), out: out}
		close(f.running)
		go f.forward(ctx, signals, cancel)
		for range 6 {
			signals <- syscall.SIGINT
			time.Sleep(1500 * time.Millisecond)
		}
		for range 3 {
			signals <- syscall.SIGTERM
		}
		synctest.Wait()
		if ctx.Err() != nil || len(out) != 9 {
			t.Fatalf("%d signals went to the command, %v", len(out), context.Cause(ctx))
		}
		time.Sleep(time.Minute)
		for range 3 {
			signals <- syscall.SIGINT
		}
		synctest.Wait()
		if context.Cause(ctx) != (interrupted{syscall.SIGINT}) {
			t.Errorf("got %v", context.Cause(ctx))
		}
	})
}
