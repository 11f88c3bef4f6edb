package pyro_test

import (
	"os"
	"os/signal"
	"testing"
)

// TestMain has interrupts end the programs that tests start, as they do those of
// a terminal: a shell that starts this one in the background has it ignore them,
// and pyro does then what nohup asks for.
func TestMain(m *testing.M) {
	if signal.Ignored(os.Interrupt) {
		signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	}
	os.Exit(m.Run())
}
