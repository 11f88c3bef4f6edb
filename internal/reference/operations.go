package reference

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"pyro/api"
)

// operations writes the page of the operations table.
func operations() string {
	var b strings.Builder
	b.WriteString("# Operations\n\n" +
		"Every operation has up to three public names: a command, an MCP tool and a method of the Python class `Pyro`; all of them take the same parameters and give the same result. " +
		"Effects: *reads* changes nothing, *changes* creates or alters, *destroys* removes something that cannot be brought back.\n\n" +
		"Beyond the errors named here every operation can fail with kind `usage`, `internal`, `canceled` or `daemon_unavailable`; see [errors](errors.md).\n")
	var types typeSet
	group := ""
	for _, op := range api.Operations() {
		if op.Group != group {
			group = op.Group
			fmt.Fprintf(&b, "\n## %s\n", group)
		}
		operation(&b, op)
		types.add(op.Result)
		types.add(op.Event)
	}
	types.add(reflect.TypeFor[api.ExecEvent]()) // of mode exec
	b.WriteString("\n## Types\n")
	for _, t := range types.sorted() {
		typeTable(&b, t)
	}
	return b.String()
}

func operation(b *strings.Builder, op *api.Operation) {
	fmt.Fprintf(b, "\n### %s\n\n%s.", op.Name, op.Summary)
	if op.Doc != "" {
		b.WriteString(" " + op.Doc)
	}
	b.WriteString("\n\n")
	for _, n := range []struct{ surface, name string }{{"Command", prefixed("pyro ", op.CLI)}, {"MCP tool", op.MCP}, {"Python", prefixed("Pyro.", op.Python)}} {
		if n.name != "" {
			fmt.Fprintf(b, "- %s: `%s`\n", n.surface, n.name)
		}
	}
	fmt.Fprintf(b, "- Effect: %s\n- Result: %s\n", op.Effect, typeLink(op.Result))
	if op.Event != nil {
		fmt.Fprintf(b, "- Events: %s\n", typeLink(op.Event))
	}
	if len(op.Errors) > 0 {
		var kinds []string
		for _, k := range op.Errors {
			kinds = append(kinds, fmt.Sprintf("[`%s`](errors.md#%s)", k, k))
		}
		fmt.Fprintf(b, "- Errors: %s\n", strings.Join(kinds, ", "))
	}
	parameters(b, op)
	fmt.Fprintf(b, "\n```console\n$ %s\n```\n", op.Example)
}

func parameters(b *strings.Builder, op *api.Operation) {
	params := api.Params(op.Request)
	if len(params) == 0 {
		return
	}
	b.WriteString("\n| parameter | command line | type | default | meaning |\n|---|---|---|---|---|\n")
	for _, p := range params {
		dflt := code(p.Default)
		switch {
		case p.Required:
			dflt = "required"
		case p.Default == "" && p.TypeName() == "boolean":
			dflt = "`false`"
		}
		meaning := p.Doc
		if p.Enum != nil {
			meaning += ": `" + strings.Join(p.Enum, "`, `") + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", p.Name, commandLine(p), p.TypeName(), dflt, cell(meaning))
	}
}

// commandLine shows how a parameter is given to the command.
func commandLine(p api.Param) string {
	switch {
	case p.Rest:
		return code("-- " + p.Arg + "...")
	case p.Arg != "":
		return code(p.Arg)
	case p.Flag != "":
		return code("--" + p.Flag)
	}
	return ""
}

// typeSet collects the struct types that results are made of.
type typeSet []reflect.Type

func (s *typeSet) add(t reflect.Type) {
	if t = element(t); t == nil || slices.Contains(*s, t) {
		return
	}
	*s = append(*s, t)
	for _, f := range reflect.VisibleFields(t) {
		if jsonName(f) != "" {
			s.add(f.Type)
		}
	}
}

func (s typeSet) sorted() []reflect.Type {
	slices.SortFunc(s, func(a, b reflect.Type) int { return strings.Compare(a.Name(), b.Name()) })
	return s
}

// element returns the struct of package api that t is, points to or lists, or nil.
func element(t reflect.Type) reflect.Type {
	for t != nil && (t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map) {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct || t.PkgPath() != reflect.TypeFor[api.Operation]().PkgPath() {
		return nil
	}
	return t
}

func typeTable(b *strings.Builder, t reflect.Type) {
	fmt.Fprintf(b, "\n### %s\n\n| field | type | meaning |\n|---|---|---|\n", t.Name())
	for _, f := range reflect.VisibleFields(t) {
		if name := jsonName(f); name != "" {
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, typeLink(f.Type), cell(f.Tag.Get("doc")))
		}
	}
}

// jsonName is the field's name in JSON, "" if it does not appear there.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" || f.Anonymous {
		return ""
	}
	return name
}

func typeLink(t reflect.Type) string {
	name := api.TypeName(t)
	if e := element(t); e != nil {
		return strings.Replace(name, e.Name(), fmt.Sprintf("[%s](#%s)", e.Name(), strings.ToLower(e.Name())), 1)
	}
	return name
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// cell makes text safe within a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
