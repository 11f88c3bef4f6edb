package mcp

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"pyro/api"
)

// besideText is room for what an answer has beside a piece of a file, which has
// the size that was asked for and must not be cut once more.
const besideText = 1 << 10

// request reads the arguments of a call: a pointer to the row's request, and
// how much text the answer may have. Errors are of kind usage.
func (t tool) request(arguments json.RawMessage, maxText int) (req any, limit int, err error) {
	given, err := t.given(arguments)
	if err != nil {
		return nil, 0, err
	}
	req = reflect.New(t.op.Request).Interface()
	if err := api.DecodeRequest(arguments, req); err != nil {
		return nil, 0, t.advise(api.AsError(err))
	}
	limit = maxText
	for _, p := range t.params {
		field := reflect.ValueOf(req).Elem().FieldByIndex(p.Index)
		_, asked := given[p.Name]
		switch {
		case isSize(p) && !asked:
			field.SetInt(min(field.Int(), int64(maxText)))
		case isSize(p):
			limit = max(limit, int(min(field.Int(), api.MaxOutput)))
		case p.HostPath:
			if err := hostPath(p, field); err != nil {
				return nil, 0, err
			}
		}
	}
	if t.op.Name == api.ReadWorkspaceFile.Name {
		limit += besideText
	}
	return req, limit, nil
}

// given returns the arguments by name, all of which the tool takes.
func (t tool) given(arguments json.RawMessage) (map[string]json.RawMessage, error) {
	given := map[string]json.RawMessage{}
	if len(bytes.TrimSpace(arguments)) == 0 {
		return given, nil
	}
	if err := json.Unmarshal(arguments, &given); err != nil {
		return nil, api.Errorf(api.KindUsage, "the arguments of %s are not a JSON object", t.op.MCP)
	}
	for name := range given {
		if !slices.ContainsFunc(t.params, func(p api.Param) bool { return p.Name == name }) {
			return nil, api.Errorf(api.KindUsage, "%s takes no argument %q", t.op.MCP, name).WithHint("it takes: %s", strings.Join(t.names(), ", "))
		}
	}
	return given, nil
}

func (t tool) names() []string {
	names := []string{}
	for _, p := range t.params {
		names = append(names, p.Name)
	}
	return names
}

// advise adds what a model gets wrong most often: a command is a list.
func (t tool) advise(e *api.Error) *api.Error {
	for _, p := range t.params {
		if p.Rest && e.Hint == "" && strings.Contains(e.Message, `"`+p.Name+`"`) {
			return e.WithHint(`%s is a list of words; for a line of shell: ["sh", "-c", "cd src && make"]`, p.Name)
		}
	}
	return e
}

// hostPath makes a path of the host absolute, because the background process
// lives in another folder.
func hostPath(p api.Param, field reflect.Value) error {
	path := field.String()
	switch {
	case path == "": // an optional one that was left out
		return nil
	case !p.Path(path):
		return nil
	case p.Dash && path == "-":
		return api.Errorf(api.KindUsage, "%s is -, a path is needed", p.Name)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return api.Errorf(api.KindUsage, "%s: %w", p.Name, err)
	}
	field.SetString(path)
	return nil
}
