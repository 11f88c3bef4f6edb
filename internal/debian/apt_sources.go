package debian

import (
	"io"
	"net/url"
	"slices"
	"strings"
)

// aptSource is one archive of an apt configuration.
type aptSource struct {
	uri    string
	suites []string
}

// parseSourcesList reads the one-line form of sources.list(5). Lines that it
// cannot read are passed over, as are all that do not begin with "deb".
func parseSourcesList(text string) []aptSource {
	var out []aptSource
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		rest, ok := strings.CutPrefix(line, "deb")
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '\t' {
			continue
		}
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") { // options
			if _, rest, ok = strings.Cut(rest, "]"); !ok {
				continue
			}
		}
		if f := strings.Fields(rest); len(f) >= 2 {
			out = append(out, aptSource{uri: f[0], suites: f[1:2]})
		}
	}
	return out
}

// parseSources reads the deb822 form of sources.list(5). A file with an error
// counts up to that error.
func parseSources(r io.Reader) []aptSource {
	var out []aptSource
	p := map[string]string{}
	_ = scanControl(r, func(name, value []byte) error {
		p[strings.ToLower(string(name))] = string(value)
		return nil
	}, func() error {
		if !strings.EqualFold(p["enabled"], "no") && slices.Contains(strings.Fields(p["types"]), "deb") {
			for _, uri := range strings.Fields(p["uris"]) {
				out = append(out, aptSource{uri: uri, suites: strings.Fields(p["suites"])})
			}
		}
		clear(p)
		return nil
	})
	return out
}

// mirrorURL returns uri without a slash at its end if it is a plain http or
// https URL. One with a password is not: it would end up in logs and metadata.
func mirrorURL(uri string) (string, bool) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", false
	}
	return strings.TrimRight(u.String(), "/"), true
}
