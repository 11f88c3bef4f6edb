package refusals

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"pyro/internal/network/policy"
)

// header is the first line of a file.
type header struct {
	Generation int64 `json:"generation"`
}

// complete ends what was taken over from the file before.
const complete = `{"complete":true}`

// part is the content of one file.
type part struct {
	generation int64
	complete   bool // all that was known before is in it
	events     []Event
}

// readPart reads a file as far as it makes sense. Of a line that does not, as the
// last one after a crash, nothing is taken.
func readPart(file io.ReaderAt) (part, error) {
	data, err := io.ReadAll(io.NewSectionReader(file, 0, maxRead))
	if err != nil {
		return part{}, err
	}
	return parsePart(data), nil
}

func parsePart(data []byte) part {
	var p part
	first := true
	for line := range bytes.Lines(data) {
		whole := bytes.HasSuffix(line, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\n"))
		switch {
		case !whole || len(line) > maxLine:
		case first:
			var h header
			if json.Unmarshal(line, &h) != nil || h.Generation < 1 || h.Generation >= most {
				return part{} // what follows belongs to no generation
			}
			p.generation, p.complete = h.Generation, h.Generation == 1
		case string(line) == complete:
			p.complete = true
		default:
			var e Event
			if json.Unmarshal(line, &e) == nil && e.valid() {
				e.clean()
				p.events = append(p.events, e)
			}
		}
		first = false
	}
	return p
}

// protocols are those of events. The last is of the event that stands for those
// that were too many.
var protocols = map[string]bool{DNS: true, policy.TCP: true, policy.UDP: true, policy.ICMP: true, Others: true}

// most bounds the numbers of a log, so that adding to them does no harm.
const most = 1 << 50

// valid bounds what one event can mean to whoever reads it.
func (e *Event) valid() bool {
	return protocols[e.Protocol] && e.Count > 0 && e.Count <= most && !e.Last.Before(e.First) && e.Address.Zone() == ""
}

// encode writes a line that is never longer than readers take.
func (e *Event) encode() []byte {
	line, err := json.Marshal(e)
	if err != nil || len(line) > maxLine {
		return nil // a time without a form in JSON, of a clock that is far off
	}
	return append(line, '\n')
}

// clean makes the texts of an event fit to be written, compared and shown. Names
// come from the guest.
func (e *Event) clean() {
	e.Name, e.Reason, e.Rule, e.Record = printable(e.Name), printable(e.Reason), printable(e.Rule), printable(e.Record)
}

// maxText is the size of a text of an event; encoded it takes at most six times as
// much.
const maxText = 300

// printable clips a text and replaces what a terminal might obey.
func printable(s string) string {
	if len(s) <= maxText && strings.IndexFunc(s, unusual) < 0 {
		return s
	}
	clean := make([]byte, 0, min(len(s), maxText))
	for _, r := range s {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			r = '?'
		}
		if len(clean)+utf8.RuneLen(r) > maxText {
			break
		}
		clean = utf8.AppendRune(clean, r)
	}
	return string(clean)
}

func unusual(r rune) bool { return r < ' ' || r >= 0x7f }

// newest picks the file that counts: the one of the higher generation that is
// complete.
func newest(parts [2]part) int {
	at := 0
	if parts[1].generation > parts[0].generation {
		at = 1
	}
	if !parts[at].complete && parts[1-at].generation > 0 {
		at = 1 - at
	}
	return at
}

// readFiles returns what both files hold, and which one counts.
func readFiles(files Files) (parts [2]part, current int, err error) {
	for i, file := range files {
		if parts[i], err = readPart(file); err != nil {
			return parts, 0, storage("read", err)
		}
	}
	return parts, newest(parts), nil
}

// Read returns the events of the log in dir, the oldest first. A folder without a
// log has none.
func Read(dir string) ([]Event, error) {
	var parts [2]part
	for i := range parts {
		var err error
		if parts[i], err = readNamed(dir, i); err != nil {
			return nil, err
		}
	}
	var l ledger
	for _, e := range parts[newest(parts)].events {
		l.add(e)
	}
	return l.list(), nil
}

func readNamed(dir string, i int) (part, error) {
	root, err := os.OpenRoot(dir)
	if os.IsNotExist(err) {
		return part{}, nil
	}
	if err != nil {
		return part{}, storage("open", err)
	}
	defer root.Close()
	file, err := root.Open(Name(i))
	if os.IsNotExist(err) {
		return part{}, nil
	}
	if err != nil {
		return part{}, storage("open", err)
	}
	defer file.Close()
	p, err := readPart(file)
	if err != nil {
		return part{}, storage("read", err)
	}
	return p, nil
}
