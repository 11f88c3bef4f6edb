package cli

import (
	"strings"
	"testing"
)

// TestLogOnATerminal checks that a bracketed line begins a line where stdout
// and stderr are read together, and that stdout gets nothing that is not its own.
func TestLogOnATerminal(t *testing.T) {
	for _, tt := range []struct {
		terminal bool
		want     string
	}{
		{true, "[workspace-logs] a\nout\n[workspace-logs] b\n"},
		{false, "[workspace-logs] a\nout[workspace-logs] b\n"},
	} {
		var both strings.Builder
		w := &logWriter{label: "workspace-logs", stdout: &both, stderr: &both, terminal: tt.terminal}
		w.line("a")
		w.output("out", "")
		w.line("b")
		if both.String() != tt.want {
			t.Errorf("terminal %v: got %q", tt.terminal, both.String())
		}
	}
}
