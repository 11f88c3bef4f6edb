package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
)

const (
	// leastLine is the shortest line of a value that is hidden by itself.
	leastLine = 8
	// leastCode is the shortest piece of base64 that is hidden.
	leastCode = 8
	// mostCoded is the longest value whose encodings are hidden, in bytes.
	mostCoded = 2 << 10
)

// forms lists what a value may look like in output, the value first.
func forms(value string) []string {
	all := []string{value}
	if strings.Contains(value, "\n") {
		all = append(all, lines(value)...)
		all = append(all, strings.ReplaceAll(strings.ReplaceAll(value, "\r\n", "\n"), "\n", "\r\n")) // as a terminal gets it
	}
	if len(value) <= mostCoded {
		all = append(all, inJSON(value, true), inJSON(value, false), url.QueryEscape(value), url.PathEscape(value))
		all = append(all, inBase64(value, base64.StdEncoding)...)
		all = append(all, inBase64(value, base64.URLEncoding)...)
	}
	return all
}

// lines are the lines of a value that are worth hiding, without the space around
// them. The first and last lines of PEM (RFC 7468) are no secrets.
func lines(value string) []string {
	var all []string
	for line := range strings.Lines(value) {
		line = strings.TrimSpace(line)
		armour := strings.HasPrefix(line, "-----") && strings.HasSuffix(line, "-----")
		if len(line) >= leastLine && !armour {
			all = append(all, line)
		}
	}
	return all
}

// inJSON is the value within a JSON string, as encoders write it that do, or do
// not, make JSON safe for HTML.
func inJSON(value string, html bool) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(html)
	if enc.Encode(value) != nil {
		return value
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(b.String()), `"`), `"`)
}

// inBase64 is what of an encoded text depends on the value alone, for each of the
// three ways in which the value can lie in groups of three bytes; and the value
// encoded by itself.
func inBase64(value string, enc *base64.Encoding) []string {
	all := []string{enc.EncodeToString([]byte(value))}
	enc = enc.WithPadding(base64.NoPadding)
	for before := range 3 {
		code := enc.EncodeToString([]byte(strings.Repeat("\x00", before) + value))
		if (before+len(value))%3 != 0 {
			code = code[:len(code)-1] // shares its last character with what follows
		}
		code = code[[]int{0, 2, 3}[before]:]
		if len(code) >= leastCode {
			all = append(all, code)
		}
	}
	return all
}
