package workspace

import (
	"cmp"
	"context"
	"slices"
	"sort"
	"time"

	"pyro/api"
	"pyro/internal/agent/wire"
	"pyro/internal/redact"
)

// readHiddenLog is readLog for a workspace with secrets. A secret may be spread
// over records of its stream, with records of the other one between them.
func readHiddenLog(ctx context.Context, l *life, hide *redact.Set, req api.LogsServiceRequest, log *api.ServiceLog) error {
	until := time.Now().Add(time.Duration(req.WaitMS) * time.Millisecond)
	for {
		records, end, err := readLog(ctx, l, req, log)
		if err != nil || len(records) == 0 {
			return err
		}
		around, err := readAround(ctx, l, hide, req.ServiceName, records, end)
		if err != nil {
			return err
		}
		runs := log.State == api.ServiceStarting || log.State == api.ServiceRunning
		held := around.show(hide, records, end, runs, log)
		if held < 0 {
			return nil
		}
		log.NextCursor, log.Truncated = held, log.Truncated && req.Cursor == nil
		if len(log.Chunks) > 0 || !time.Now().Before(until) {
			return nil
		}
		// All that there is is held back: whoever waits for output shall not have to
		// ask again at once.
		wait := wire.ServiceLogsParams{Name: req.ServiceName, Cursor: end, Max: 1, WaitMS: max(0, time.Until(until).Milliseconds())}
		if err := l.ask(ctx, wire.ServiceLogs, wait, &wire.ServiceLogsResult{}); err != nil {
			return err
		}
		req.WaitMS = 0
	}
}

// readAround reads the log from before the records to behind them, as far as a
// secret that touches them can reach.
func readAround(ctx context.Context, l *life, hide *redact.Set, name string, records []wire.LogRecord, end int64) (*twoStreams, error) {
	reach := int64(2 * hide.Longest()) // what the other stream says between counts too
	last := records[len(records)-1]
	at, to := max(0, records[0].Cursor-reach), min(end, last.Cursor+int64(len(last.Data))+reach)
	at = max(at, to-2*api.MaxOutput-2*reach) // a log may be long, what is shown of it is not
	var s twoStreams
	left := to - at // what an honest guest sends
	for first := true; at < to && left > 0; first = false {
		var res wire.ServiceLogsResult
		if err := l.ask(ctx, wire.ServiceLogs, wire.ServiceLogsParams{Name: name, Cursor: at, Max: int(min(to-at, wire.MaxData))}, &res); err != nil {
			return nil, err
		}
		for i := range s {
			s[i].cut = s[i].cut || first && res.Dropped > 0
		}
		for _, r := range res.Records {
			s[streamOf(r)].add(r)
			left -= int64(len(r.Data))
		}
		if res.NextCursor <= at {
			break
		}
		at = res.NextCursor
	}
	return &s, nil
}

// twoStreams are the bytes of a log by stream: stdout, stderr.
type twoStreams [2]logStream

func streamOf(r wire.LogRecord) int {
	if r.Stream == "stderr" {
		return 1
	}
	return 0
}

// logStream is a part of one stream.
type logStream struct {
	text  []byte
	runs  []logRun
	cut   bool // what stood before is lost
	spans []redact.Span
	open  int // where the beginning of a secret starts that text ends in
}

// logRun is where bytes of the stream stand in the log.
type logRun struct {
	cursor int64
	at, n  int
}

func (s *logStream) add(r wire.LogRecord) {
	s.runs = append(s.runs, logRun{r.Cursor, len(s.text), len(r.Data)})
	s.text = append(s.text, r.Data...)
}

func (s *logStream) find(hide *redact.Set) {
	s.spans, s.open = findAll(hide, s.text, s.cut)
}

// cursor is where a byte of text stands in the log.
func (s *logStream) cursor(at int) int64 {
	i := sort.Search(len(s.runs), func(i int) bool { return s.runs[i].at+s.runs[i].n > at })
	return s.runs[i].cursor + int64(at-s.runs[i].at)
}

// place is where the byte at a cursor of the log stands in text, -1 if it is not
// in it.
func (s *logStream) place(cursor int64) int {
	i, found := slices.BinarySearchFunc(s.runs, cursor, func(r logRun, c int64) int { return cmp.Compare(r.cursor, c) })
	if found {
		return s.runs[i].at
	}
	if i == 0 || cursor < s.runs[i-1].cursor || cursor >= s.runs[i-1].cursor+int64(s.runs[i-1].n) { // the guest may tell them in any order
		return -1
	}
	return s.runs[i-1].at + int(cursor-s.runs[i-1].cursor)
}

// show adds the records to the answer, without secrets. If the last bytes of the
// log may be the beginning of a secret, and the service may go on with it, they
// are held back: then show returns the cursor to read on from, else -1.
func (t *twoStreams) show(hide *redact.Set, records []wire.LogRecord, end int64, runs bool, log *api.ServiceLog) (held int64) {
	held = -1
	for i := range t {
		s := &t[i]
		s.find(hide)
		switch left := len(s.text) - s.open; {
		case left == 0:
		case runs && s.cursor(s.open)+int64(left) == end && s.cursor(s.open) < log.NextCursor:
			held = s.cursor(s.open)
		case runs && left >= leastCut: // the other stream went on, and must not wait for this one
			s.spans = slices.DeleteFunc(s.spans, func(p redact.Span) bool { return p.Begin >= s.open })
			s.spans = append(s.spans, redact.Span{Begin: s.open, End: len(s.text)})
		}
	}
	for _, r := range records {
		s := &t[streamOf(r)]
		n := int64(len(r.Data))
		if held >= 0 {
			n = min(n, held-r.Cursor)
		}
		from := s.place(r.Cursor)
		if n <= 0 || from < 0 {
			continue // held back, or lost meanwhile
		}
		to := min(from+int(n), len(s.text))
		if r.Data = redact.Replace(s.text, s.spans, from, to); len(r.Data) > 0 {
			addOutput(log, r)
		}
	}
	return held
}
