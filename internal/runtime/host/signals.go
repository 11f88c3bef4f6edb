package host

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// undoIgnored makes commands start with default signals, as they do in a
// sandbox. A process that was started by nohup(1), for example, ignores SIGHUP,
// and so would every command, whose shell could not even trap it. A signal
// that is caught here, and dropped, is the default again after exec.
var undoIgnored = sync.OnceFunc(func() {
	dropped := make(chan os.Signal, 1)
	for sig := syscall.Signal(1); sig < 32; sig++ {
		if signal.Ignored(sig) && sig != syscall.SIGPIPE {
			signal.Notify(dropped, sig)
		}
	}
})
