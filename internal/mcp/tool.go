package mcp

import (
	"reflect"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"pyro/api"
)

// isSize reports whether an argument says how long an answer may be, by
// convention of the table.
func isSize(p api.Param) bool {
	return (p.Name == "max_bytes" || p.Name == "max_chars") && p.Type.Kind() == reflect.Int
}

// tool is a row as a profile offers it.
type tool struct {
	op     *api.Operation
	params []api.Param // that it takes, in the words of this surface
	result reflect.Type
	brief  bool
	words  func(string) string
}

// newTool makes the tool of a row. project is the folder that new workspaces
// begin with, "" for none.
func newTool(op *api.Operation, p Profile, words func(string) string, project string) tool {
	t := tool{op: op, result: op.Result, brief: p.Brief, words: words}
	switch {
	case op.Mode == api.ModeExec:
		t.result = reflect.TypeFor[commandAnswer]()
	case op == api.CreateWorkspace.Operation:
		t.result = reflect.TypeFor[createAnswer]()
	}
	for _, param := range api.Params(op.Request) {
		if !p.takes(op, param.Name) {
			continue
		}
		param.Doc = words(param.Doc)
		if param.Dash {
			param.Doc, _, _ = strings.Cut(param.Doc, ";") // what follows is about the command line
		}
		if p.Brief && isSize(param) {
			param.Doc, _, _ = strings.Cut(param.Doc, ",") // what follows is about bounds, which answers tell
		}
		if project != "" && op == api.CreateWorkspace.Operation && param.Name == seedPath {
			param.Doc += `; if absent the project ` + project + `, "" for an empty workspace`
		}
		t.params = append(t.params, param)
	}
	return t
}

// definition is what tools/list tells of the tool.
func (t tool) definition(maxText int) *mcp.Tool {
	return &mcp.Tool{
		Name:         t.op.MCP,
		Description:  t.description(),
		Annotations:  t.annotations(),
		InputSchema:  t.inputSchema(maxText),
		OutputSchema: t.outputSchema(),
	}
}

func (t tool) description() string {
	text := t.op.Summary + "."
	doc := t.op.Doc
	if t.brief {
		doc = firstSentence(doc)
	}
	if doc != "" {
		text += " " + doc
	}
	return t.words(text)
}

// firstSentence returns text up to its first full stop before a space.
func firstSentence(text string) string {
	if i := strings.Index(text, ". "); i >= 0 {
		return text[:i+1]
	}
	return text
}

// annotations say what the row's effect is. A tool that makes something on the
// host is not read-only, though the sandbox stays as it is: clients run
// read-only tools without asking. To destroy twice does no more than to destroy
// once, unless a command is run for it.
func (t tool) annotations() *mcp.ToolAnnotations {
	destroys := t.op.Effect == api.Destroys
	writesHost := slices.ContainsFunc(t.params, func(p api.Param) bool { return p.Dash })
	reads := t.op.Effect == api.Reads && !writesHost
	return &mcp.ToolAnnotations{
		ReadOnlyHint:    reads,
		DestructiveHint: &destroys,
		IdempotentHint:  reads || destroys && t.op.Mode != api.ModeExec,
	}
}
