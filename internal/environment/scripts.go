package environment

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"pyro/api"
	"pyro/internal/tree"
)

// runScripts writes the stage tree as an image and has the command run on it.
func (m *Manager) runScripts(ctx context.Context, j *job, stage *tree.Tree, argv, env []string, output io.Writer, report *reporter) (io.ReadCloser, error) {
	path := j.path("stage.erofs")
	report.begin(phaseConfigure, "")
	if _, err := writeStage(ctx, path, stage); err != nil {
		return nil, err
	}
	logFile, err := os.OpenFile(j.path("configure.log"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	log := &scriptLog{f: logFile, left: maxLog, also: output}
	upper, err := m.configure(ctx, ConfigureRequest{Image: path, Argv: argv, Env: env, Log: log})
	if err != nil {
		kept := m.keepLog(logFile)
		e := api.AsError(err)
		if ctx.Err() == nil && kept != "" {
			return nil, &api.Error{Kind: e.Kind, Message: fmt.Sprintf("configuring its packages: %s; it ended with: %s", e.Message, kept), Hint: e.Hint, Err: err}
		}
		return nil, err
	}
	return upper, nil
}

// maxLog bounds what maintainer scripts may write to the host.
const maxLog = 16 << 20

// scriptLog keeps what scripts print, up to a bound beyond which it is dropped
// without failing them, and passes all of it on. Its two ends, standard output
// and error, may be written at once.
type scriptLog struct {
	mu   sync.Mutex // guards everything
	f    *os.File
	left int64
	also io.Writer // may be nil
}

func (l *scriptLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.f.Write(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	if err == nil && l.also != nil {
		_, err = l.also.Write(p)
	}
	if err != nil {
		return n, err
	}
	return len(p), nil
}

// keepLog returns the end of a log, for an error message, and logs more of it.
func (m *Manager) keepLog(f *os.File) string {
	st, err := f.Stat()
	if err != nil {
		return ""
	}
	const tail = 8 << 10
	buf := make([]byte, min(st.Size(), tail))
	if _, err := f.ReadAt(buf, st.Size()-int64(len(buf))); err != nil && err != io.EOF {
		return ""
	}
	m.log.Error("maintainer scripts failed", "log", string(buf))
	return lastLine(buf)
}

// lastLine returns the last line that is not empty, fit for a message.
func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(b), "?")), "\n")
	line := strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, lines[len(lines)-1])
	return clip(strings.TrimSpace(line))
}
