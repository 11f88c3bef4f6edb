package carrier

import (
	"bytes"
	"context"
	"os"
	"time"

	"pyro/internal/network/link"
	"pyro/internal/network/uplink"
	"pyro/internal/runtime/hostprocess"
)

// How long a dead uplink is not replaced: the first time at once, then ever
// longer, unless the one before has lived for long.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 10 * time.Second
	livedFor     = time.Minute
)

// Keep replaces the uplink whenever it dies, until the machine has ended, which
// done tells, or Close was called. It may be called once.
func (c *Carrier) Keep(done <-chan struct{}, m Machine) {
	go func() {
		defer close(c.ended)
		c.keep(done, m)
	}()
}

func (c *Carrier) keep(done <-chan struct{}, m Machine) {
	pause := time.Duration(0)
	for {
		begun := time.Now()
		if !c.await(done) {
			return
		}
		if time.Since(begun) > livedFor {
			pause = 0
		}
		select {
		case <-time.After(pause):
		case <-c.held.Done():
			return
		case <-done:
			return
		}
		if c.held.Err() != nil {
			return
		}
		pause = min(max(2*pause, firstPause), longestPause)
		c.o.Logger.Warn("the network's process has ended, starting another", "machine", c.o.Spec.ID)
		if err := c.replace(m); err != nil && c.held.Err() == nil {
			c.o.Logger.Error("the network cannot be restored, trying again", "machine", c.o.Spec.ID, "error", err)
		}
	}
}

// await returns true when the uplink has ended, false if nobody shall care.
func (c *Carrier) await(done <-chan struct{}) bool {
	c.mu.Lock()
	process := c.uplink
	c.mu.Unlock()
	watch, err := process.Watch()
	if err != nil {
		process.Collect()
		return true
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		watch.Ended()
	}()
	defer watch.Close()
	defer func() { watch.Stop(); <-ended }()
	select {
	case <-ended:
		process.Collect()
		return true
	case <-done:
		_ = process.Kill(killTimeout) // it ends by itself; this is to collect it
		return false
	case <-c.held.Done():
		return false
	}
}

// replace starts another uplink: on the same link if this process made it, so
// that the guest's end stays, else on a new one.
func (c *Carrier) replace(m Machine) error {
	ctx, cancel := context.WithTimeout(c.held, time.Minute)
	defer cancel()
	c.mu.Lock()
	gateway := c.gateway
	c.mu.Unlock()
	if gateway != nil {
		starting, err := c.next(m, gateway)
		if err != nil {
			return err
		}
		return starting.Wait(ctx)
	}
	// An uplink that no record names is left of a process that was killed.
	for _, p := range Find(c.o.Dir) {
		_ = p.Kill(killTimeout)
	}
	gateway, guest, err := link.Pair()
	if err != nil {
		return err
	}
	defer guest.Close()
	if err := c.begin(ctx, m, gateway, guest); err != nil {
		gateway.Close()
		return err
	}
	c.mu.Lock()
	c.gateway = gateway
	c.mu.Unlock()
	return nil
}

// begin puts a new link to use.
func (c *Carrier) begin(ctx context.Context, m Machine, gateway, guest *os.File) error {
	starting, err := c.next(m, gateway)
	if err != nil {
		return err
	}
	if err = m.Replug(ctx, guest); err == nil {
		err = starting.Wait(ctx)
	}
	if err != nil {
		_ = c.process().Kill(killTimeout) // it serves a link that nobody has
	}
	return err
}

func (c *Carrier) process() hostprocess.Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.uplink
}

// next starts an uplink and records it.
func (c *Carrier) next(m Machine, gateway *os.File) (*uplink.Starting, error) {
	starting, process, err := c.spawn(gateway)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.uplink = process
	c.mu.Unlock()
	if err := m.RecordUplink(process); err != nil {
		_ = process.Kill(killTimeout) // nobody would find it
		return nil, err
	}
	return starting, nil
}

// Find looks through the whole host for uplinks of the machine with the folder.
// It is for machines whose record is incomplete because its writer was killed.
func Find(dir string) []hostprocess.Process {
	return hostprocess.Find("cmdline", func(cmdline []byte) bool { return isUplink(cmdline, dir) })
}

// isUplink judges by a command line, whose arguments end with a zero byte.
func isUplink(cmdline []byte, dir string) bool {
	return bytes.HasPrefix(cmdline, []byte(uplink.Name+"\x00")) && bytes.Contains(cmdline, []byte("="+dir+"\x00"))
}
