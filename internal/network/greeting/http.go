package greeting

import (
	"bytes"
	"strings"
)

// maxMethod is longer than any method there is.
const maxMethod = 32

// readHTTP reads the head of a request, and is as generous as the most generous
// server: empty lines before it, lines that end without CR, spaces around names of
// fields.
func readHTTP(data []byte) Greeting {
	head := bytes.TrimLeft(data, "\r\n")
	first, rest, whole := bytes.Cut(head, []byte("\n"))
	if !whole {
		if !mayBeRequest(first) {
			return Greeting{}
		}
		return Greeting{More: true, Protocol: HTTP}
	}
	method, target, ok := requestLine(string(first))
	if !ok {
		return Greeting{}
	}
	g := Greeting{Protocol: HTTP}
	if name := targetName(method, target); name != "" {
		g.Names = append(g.Names, name)
	}
	for {
		line, next, whole := bytes.Cut(rest, []byte("\n"))
		if !whole {
			return Greeting{Protocol: HTTP, More: true}
		}
		line = bytes.TrimRight(line, "\r")
		if len(line) == 0 {
			return g
		}
		rest = next
		field, value, _ := strings.Cut(string(line), ":")
		if folded := line[0] == ' ' || line[0] == '\t'; folded || bytes.IndexByte(line, 0) >= 0 || bytes.IndexByte(line, '\r') >= 0 {
			return Greeting{Protocol: HTTP, Broken: true} // servers differ in what it means
		}
		if strings.EqualFold(strings.TrimSpace(field), "host") {
			g.Names = append(g.Names, hostOf(strings.TrimSpace(value)))
		}
	}
}

// mayBeRequest reports whether a line that is not whole yet could become the first
// of a request.
func mayBeRequest(line []byte) bool {
	method, _, hasTarget := bytes.Cut(line, []byte(" "))
	return len(method) <= maxMethod && (len(method) > 0 || !hasTarget) && isMethod(string(method))
}

func isMethod(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if !(c >= 'a' && c <= 'z') && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return true
}

// requestLine takes apart "GET /path HTTP/1.1". Requests of HTTP/0.9 have no
// version and name nobody, those of HTTP/2 are not text.
func requestLine(line string) (method, target string, ok bool) {
	words := strings.Fields(line)
	if len(words) < 3 || !isMethod(words[0]) || len(words[0]) > maxMethod {
		return "", "", false
	}
	version := strings.ToUpper(words[len(words)-1])
	return words[0], words[1], strings.HasPrefix(version, "HTTP/1")
}

// targetName is the name in a target that is a whole URL, which counts more than
// the Host field, or the authority of CONNECT.
func targetName(method, target string) string {
	if strings.EqualFold(method, "CONNECT") {
		return hostOf(target)
	}
	_, rest, isURL := strings.Cut(target, "://")
	if !isURL || strings.HasPrefix(target, "/") {
		return ""
	}
	if end := strings.IndexAny(rest, `/?#\`); end >= 0 {
		rest = rest[:end]
	}
	return hostOf(rest)
}

// hostOf is an authority without user and port.
func hostOf(authority string) string {
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		authority = authority[at+1:]
	}
	if strings.HasPrefix(authority, "[") {
		if end := strings.IndexByte(authority, ']'); end >= 0 {
			return authority[1:end]
		}
	}
	host, _, _ := strings.Cut(authority, ":")
	return host
}
