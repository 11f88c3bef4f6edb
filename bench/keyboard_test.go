package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/creack/pty"
)

// prompt is that of the shells that are measured, which begin alike.
const prompt = "@@ "

// bash is their command: without anybody's settings, and with that prompt.
var bash = []string{"/usr/bin/env", "PS1=" + prompt, "TERM=xterm-256color", "/bin/bash", "--norc", "--noprofile"}

// keyboard is a terminal with a program, and the hands on it.
type keyboard struct {
	terminal *os.File
	cmd      *exec.Cmd
	shown    strings.Builder // since the last key
}

// keyTime bounds the wait for what a key does.
const keyTime = 30 * time.Second

// sit starts a program of the lab on a terminal.
func (l *lab) sit(env []string, argv ...string) (*keyboard, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return nil, context.Canceled
	}
	terminal, tty, err := pty.Open()
	if err != nil {
		return nil, err
	}
	defer tty.Close()
	k := &keyboard{terminal: terminal, cmd: exec.Command(argv[0], argv[1:]...)}
	k.cmd.Env, k.cmd.Dir = append(l.env(), env...), l.dir
	k.cmd.Stdin, k.cmd.Stdout, k.cmd.Stderr = tty, tty, tty
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = pty.Setsize(tty, &pty.Winsize{Cols: 120, Rows: 30})
	if err == nil {
		err = k.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, terminal.Close())
	}
	return k, nil
}

// press types keys and returns when the terminal shows the text.
func (k *keyboard) press(keys, text string) error {
	k.shown.Reset()
	if _, err := k.terminal.WriteString(keys); err != nil {
		return err
	}
	buf := make([]byte, 32<<10)
	if err := k.terminal.SetReadDeadline(time.Now().Add(keyTime)); err != nil {
		return err
	}
	for !strings.Contains(k.shown.String(), text) {
		n, err := k.terminal.Read(buf)
		if err != nil {
			return fmt.Errorf("%q was not shown after %q, but %q: %w", text, keys, k.shown.String(), err)
		}
		k.shown.Write(buf[:n])
	}
	return nil
}

// leave ends the program by closing its terminal.
func (k *keyboard) leave() error {
	err := k.terminal.Close()
	_ = k.cmd.Process.Kill() // if it does not mind
	_ = k.cmd.Wait()
	return err
}

// letters are typed one by one, and each is waited for.
const letters = "abcdefghijklmnopqrst"

// typist types into a shell: press returns when the shell shows the text.
type typist func(keys, text string) error

// round measures single keys, of which the median counts, and a line with its
// answer.
func (press typist) round() (figures, error) {
	if err := press(": ", ":"); err != nil {
		return nil, err
	}
	var times []float64
	for _, key := range letters {
		start := time.Now()
		if err := press(string(key), string(key)); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start).Seconds())
	}
	if err := press("\r", prompt); err != nil {
		return nil, err
	}
	start := time.Now()
	if err := press("echo o''k\r", "ok\r\n"); err != nil {
		return nil, err
	}
	line := time.Since(start).Seconds()
	return figures{"key": median(times), "line": line}, press("\r", prompt)
}
