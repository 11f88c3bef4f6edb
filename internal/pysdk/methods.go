package main

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"pyro/api"
)

// operations writes the class whose methods are the rows.
func operations(ops []*api.Operation) string {
	var b strings.Builder
	for _, op := range ops {
		if op.Python != "" {
			method(&b, op)
		}
	}
	methods := b.String()
	return `"""One method for each operation of pyro that has a Python name."""

from __future__ import annotations

` + imports(methods) + `

class Operations(Caller):
    """The operations of pyro. Each gives a plain dictionary, or raises PyroError."""
` + methods
}

// imports writes the lines for what the methods use.
func imports(methods string) string {
	var b strings.Builder
	for _, module := range []struct {
		name  string
		gives []string
	}{
		{"collections.abc", []string{"Callable", "Mapping", "Sequence"}},
		{"", nil},
		{"pyro_mcp", []string{"types"}},
		{"pyro_mcp._arguments", []string{"Command", "HostPath", "arguments", "host_path"}},
		{"pyro_mcp._caller", []string{"Caller", "Output"}},
	} {
		used := slices.DeleteFunc(module.gives, func(name string) bool {
			return name != "Caller" && !regexp.MustCompile(`[ (]`+name+`\b`).MatchString(methods)
		})
		switch {
		case module.name == "":
			b.WriteString("\n")
		case len(used) > 0:
			fmt.Fprintf(&b, "from %s import %s\n", module.name, strings.Join(used, ", "))
		}
	}
	return b.String()
}

func method(b *strings.Builder, op *api.Operation) {
	fmt.Fprintf(b, "\n    def %s(\n        self,\n", op.Python)
	params := api.Params(op.Request)
	for _, p := range params {
		if positional(p) {
			fmt.Fprintf(b, "        %s,\n", declaration(p))
		}
	}
	extra := extraParams(op)
	if len(extra) > 0 || slices.ContainsFunc(params, func(p api.Param) bool { return !positional(p) }) {
		b.WriteString("        *,\n")
	}
	for _, p := range params {
		if !positional(p) {
			fmt.Fprintf(b, "        %s,\n", declaration(p))
		}
	}
	for _, e := range extra {
		fmt.Fprintf(b, "        %s,\n", e.declaration)
	}
	fmt.Fprintf(b, "    ) -> types.%s:\n", op.Result.Name())
	docString(b, op, params, extra)
	body(b, op, params)
}

// positional says whether a parameter may be given without its name.
func positional(p api.Param) bool { return p.Arg != "" && !p.Rest }

// declaration is a parameter with its type and its default.
func declaration(p api.Param) string {
	text := identifier(p.Name) + ": " + paramType(p)
	switch {
	case p.Required:
		return text
	case literal(p) == "None":
		return text + " | None = None"
	}
	return text + " = " + literal(p)
}

// extraParam is a parameter that follows from the row's mode.
type extraParam struct{ name, declaration, doc string }

func extraParams(op *api.Operation) []extraParam {
	switch op.Mode {
	case api.ModeEvents:
		event := "types." + op.Event.Name()
		return []extraParam{{
			"on_" + strings.ToLower(op.Event.Name()), fmt.Sprintf("on_%s: Callable[[%s], object] | None = None", strings.ToLower(op.Event.Name()), event),
			"called with each event as it comes; the operation waits while it runs",
		}}
	case api.ModeExec:
		return []extraParam{
			{"stdin", "stdin: bytes | None = None", "what the command reads from its stdin; nothing if absent"},
			{"on_stdout", "on_stdout: Output | None = None", "called with each piece of stdout as it comes, which then is not in the result; the command waits while it runs"},
			{"on_stderr", "on_stderr: Output | None = None", "likewise for stderr"},
		}
	}
	return nil
}

func docString(b *strings.Builder, op *api.Operation, params []api.Param, extra []extraParam) {
	const indent = "        "
	fmt.Fprintf(b, "%s\"\"\"%s.\n", indent, docText(op.Summary))
	if op.Doc != "" {
		b.WriteString("\n" + wrap(docText(op.Doc), indent, ""))
	}
	b.WriteString("\n")
	for _, p := range params {
		text := p.Doc
		if p.Rest {
			text += "; as a list, or as one string for the shell"
		}
		if p.Enum != nil {
			text += ": " + strings.Join(p.Enum, ", ")
		}
		b.WriteString(wrap(docText(":param "+identifier(p.Name)+": "+text), indent, "    "))
	}
	for _, e := range extra {
		b.WriteString(wrap(docText(":param "+e.name+": "+e.doc), indent, "    "))
	}
	var kinds []string
	for _, k := range op.Errors {
		kinds = append(kinds, string(k))
	}
	raises := ":raises PyroError: "
	if len(kinds) > 0 {
		raises += "of kind " + strings.Join(kinds, ", ") + ", or "
	}
	b.WriteString(wrap(raises+"of a kind that every operation can give", indent, "    "))
	b.WriteString(indent + "\"\"\"\n")
}

func body(b *strings.Builder, op *api.Operation, params []api.Param) {
	const indent = "        "
	if len(params) == 0 {
		b.WriteString(indent + "request: dict[str, object] = {}\n")
	} else {
		b.WriteString(indent + "request: dict[str, object] = {\n")
		for _, p := range params {
			fmt.Fprintf(b, "%s    %s: %s,\n", indent, quoted(p.Name), sent(p))
		}
		b.WriteString(indent + "}\n")
	}
	how := fmt.Sprintf("self._call(%s, request)", quoted(op.Name))
	switch op.Mode {
	case api.ModeEvents:
		how = fmt.Sprintf("self._watch(%s, request, %s)", quoted(op.Name), extraParams(op)[0].name)
	case api.ModeExec:
		how = fmt.Sprintf("self._exec(%s, request, stdin, on_stdout, on_stderr)", quoted(op.Name))
	}
	fmt.Fprintf(b, "%sresult: types.%s = %s\n%sreturn result\n", indent, op.Result.Name(), how, indent)
}

// sent is what goes into the request for a parameter.
func sent(p api.Param) string {
	name := identifier(p.Name)
	switch typ := indirect(p.Type); {
	case p.HostPath:
		words := ""
		for _, w := range p.Words {
			words += ", " + quoted(w)
		}
		return "host_path(" + name + words + ")"
	case p.Rest:
		return "arguments(" + name + ")"
	case typ.Kind() == reflect.Slice && literal(p) == "None" && !p.Required:
		return fmt.Sprintf("None if %s is None else list(%s)", name, name)
	case typ.Kind() == reflect.Slice:
		return "list(" + name + ")"
	case typ.Kind() == reflect.Map && literal(p) == "None" && !p.Required:
		return fmt.Sprintf("None if %s is None else dict(%s)", name, name)
	case typ.Kind() == reflect.Map:
		return "dict(" + name + ")"
	default:
		return name
	}
}

func sortedKeys(m map[string][]string) []string { return slices.Sorted(maps.Keys(m)) }
