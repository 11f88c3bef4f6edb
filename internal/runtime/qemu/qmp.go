package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// monitor is a connection to QEMU's monitor. The protocol is QMP: JSON objects,
// one on a line, https://www.qemu.org/docs/master/interop/qmp-spec.html. What
// QEMU says is believed no more than the guest, which may have taken it over.
type monitor struct {
	conn net.Conn
	done chan struct{} // closed when the connection has ended

	mu      sync.Mutex // guards what follows, and writing
	next    int
	waiting map[int]chan message
}

// message is what QEMU sends.
type message struct {
	ID     *int            `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
	Event string `json:"event"`
	QMP   any    `json:"QMP"`
}

// maxMessage bounds one message. The longest is the console's text.
const maxMessage = 1 << 20

// newMonitor begins a session on conn, which it owns. event is called for every
// event, on the goroutine that reads.
func newMonitor(ctx context.Context, conn net.Conn, event func(name string)) (*monitor, error) {
	m := &monitor{conn: conn, done: make(chan struct{}), waiting: map[int]chan message{}}
	go m.read(event)
	if err := m.call(ctx, "qmp_capabilities", nil, nil); err != nil {
		conn.Close()
		return nil, err
	}
	return m, nil
}

func (m *monitor) read(event func(string)) {
	defer close(m.done)
	defer m.conn.Close()
	lines := bufio.NewScanner(m.conn)
	lines.Buffer(nil, maxMessage)
	for lines.Scan() {
		var msg message
		if json.Unmarshal(lines.Bytes(), &msg) != nil {
			return
		}
		switch {
		case msg.Event != "":
			event(msg.Event)
		case msg.ID != nil:
			m.mu.Lock()
			answer := m.waiting[*msg.ID]
			delete(m.waiting, *msg.ID)
			m.mu.Unlock()
			if answer != nil {
				answer <- msg
			}
		}
	}
}

// errMonitor is the error of a monitor that does not answer any more.
var errMonitor = errors.New("QEMU's monitor does not answer")

// call executes a command and decodes what it returns into result, which may be
// nil.
func (m *monitor) call(ctx context.Context, command string, arguments, result any) error {
	return m.send(ctx, command, arguments, result, nil)
}

// send is call with an open file on the way, if there is one.
func (m *monitor) send(ctx context.Context, command string, arguments, result any, file *os.File) error {
	answer := make(chan message, 1)
	m.mu.Lock()
	m.next++
	id := m.next
	m.waiting[id] = answer
	b, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        int    `json:"id"`
	}{command, arguments, id})
	if err == nil {
		err = m.write(append(b, '\n'), file)
	}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.waiting, id)
	}()
	if err != nil {
		return fmt.Errorf("%w: %w", errMonitor, err)
	}
	select {
	case msg := <-answer:
		if msg.Error != nil {
			return fmt.Errorf("QEMU: %s: %s", command, msg.Error.Desc)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(msg.Return, result)
	case <-m.done:
		return errMonitor
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// write sends a line. A file goes along with its first byte, cmsg(3).
func (m *monitor) write(line []byte, file *os.File) error {
	if file == nil {
		_, err := m.conn.Write(line)
		return err
	}
	conn, ok := m.conn.(*net.UnixConn)
	if !ok {
		return errors.New("it takes no files")
	}
	n, _, err := conn.WriteMsgUnix(line, unix.UnixRights(int(file.Fd())), nil)
	if err == nil && n < len(line) {
		_, err = conn.Write(line[n:])
	}
	return err
}

func (m *monitor) Close() {
	m.conn.Close()
	<-m.done
}

// consoleSize is how much of the guest's console QEMU keeps, a power of two.
const consoleSize = 64 << 10

// console returns the newest lines of the guest's console.
func (m *monitor) console(ctx context.Context) string {
	var text string
	args := map[string]any{"device": "console", "size": consoleSize, "format": "utf8"}
	if m.call(ctx, "ringbuf-read", args, &text) != nil {
		return ""
	}
	return text
}

// running says whether the guest's processors run.
func (m *monitor) running(ctx context.Context) (bool, error) {
	var status struct {
		Running bool `json:"running"`
	}
	err := m.call(ctx, "query-status", nil, &status)
	return status.Running, err
}

// writes counts the operations that have changed the machine's disks.
func (m *monitor) writes(ctx context.Context) (int64, error) {
	var stats []struct {
		Stats struct {
			Writes   int64 `json:"wr_operations"`
			Discards int64 `json:"unmap_operations"`
		} `json:"stats"`
	}
	if err := m.call(ctx, "query-blockstats", nil, &stats); err != nil {
		return 0, err
	}
	var n int64
	for _, s := range stats {
		n += s.Stats.Writes + s.Stats.Discards
	}
	return n, nil
}
