package greeting

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// readHTTP reads the head of a request, and is as generous as the most generous
// server: white space before it, lines that end without CR, spaces of any kind
// between its words and around names of fields, methods that nobody knows.
func readHTTP(data []byte) Greeting {
	head := bytes.TrimLeftFunc(data, isSpace)
	first, rest, whole := bytes.Cut(head, []byte("\n"))
	words := bytes.FieldsFunc(first, isSpace)
	if len(words) > 0 && !isToken(words[0]) || len(words) > 1 && words[1][0] < ' ' {
		return Greeting{} // the bytes of some other protocol
	}
	if !whole {
		return Greeting{Protocol: HTTP, More: true}
	}
	if !isRequest(words) {
		return Greeting{}
	}
	if unclear(first) {
		return Greeting{Protocol: HTTP, Broken: true}
	}
	g := Greeting{Protocol: HTTP}
	if name := targetName(string(words[0]), string(words[1])); name != "" {
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
		if isSpace(rune(line[0])) || bytes.ContainsAny(line, "\x00\r") {
			return Greeting{Protocol: HTTP, Broken: true} // servers differ in what it means
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(bytes.TrimFunc(field, isSpace), []byte("host")) {
			g.Names = append(g.Names, hostOf(string(bytes.TrimFunc(value, isSpace))))
		}
	}
}

// unclear says whether servers could differ in whom the target of a first line
// means: it may name somebody, and has bytes that some take for white space and
// some for part of a name.
func unclear(line []byte) bool {
	odd := bytes.ContainsFunc(bytes.TrimRight(line, "\r"), func(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f })
	words := bytes.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	path := len(words) == 3 && isToken(words[0]) && words[1][0] == '/' // for all of them
	return odd && !path && (bytes.Contains(line, []byte("://")) || bytes.HasPrefix(bytes.ToUpper(line), []byte("CONNECT")))
}

// isSpace takes for white space what some server does, Python's for one, which
// reads Latin-1. A byte that is no UTF-8 comes as the replacement character.
func isSpace(r rune) bool {
	return r == ' ' || r >= '\t' && r <= '\r' || r >= 0x1c && r <= 0x1f || r == 0x85 || r == 0xa0 || r == utf8.RuneError
}

// isToken is the grammar of methods, RFC 9110, section 5.6.2.
func isToken(s []byte) bool {
	return bytes.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	}) < 0
}

// isRequest knows the first line of a request, "GET /path HTTP/1.1". One of
// HTTP/0.9 has no version, and fields only for servers that do not care. HTTP/2
// begins with a line of that form and is not text.
func isRequest(words [][]byte) bool {
	switch n := len(words); {
	case n == 2:
		return bytes.EqualFold(words[0], []byte("GET"))
	case n > 2:
		version := bytes.ToUpper(words[n-1])
		return bytes.HasPrefix(version, []byte("HTTP/")) && !bytes.HasPrefix(version, []byte("HTTP/2"))
	}
	return false
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
