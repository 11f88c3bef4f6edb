package main

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"pyro/api"
)

// width is where lines of generated text end.
const width = 110

// keywords are the words of Python that cannot name a parameter or a field.
var keywords = []string{
	"False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif",
	"else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or",
	"pass", "raise", "return", "try", "while", "with", "yield",
}

// identifier is name, or what PEP 8 makes of it if that is a keyword.
func identifier(name string) string {
	if slices.Contains(keywords, name) {
		return name + "_"
	}
	return name
}

// quoted is text as a Python literal. For text without control characters JSON,
// Go and Python agree.
func quoted(text string) string { return strconv.Quote(text) }

// literal is a parameter's default as a Python literal: the default tag, or
// else the zero of numbers and booleans, or else None, which is not sent.
func literal(p api.Param) string {
	typ := indirect(p.Type)
	switch {
	case p.Default != "" && typ.Kind() == reflect.Bool:
		return strings.ToUpper(p.Default[:1]) + p.Default[1:]
	case p.Default != "" && typ.Kind() == reflect.String:
		return quoted(p.Default)
	case p.Default != "":
		return p.Default
	case p.Type.Kind() == reflect.Bool:
		return "False"
	case reflect.Zero(p.Type).CanInt():
		return "0"
	}
	return "None"
}

func indirect(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// typeName is the type of a value as JSON holds it. Structs of package api are
// classes of the module types, written with the prefix.
func typeName(t reflect.Type, prefix string) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "str"
	case t.Kind() == reflect.Pointer:
		return typeName(t.Elem(), prefix)
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		return "list[" + typeName(t.Elem(), prefix) + "]"
	case t.Kind() == reflect.Map:
		return "dict[str, " + typeName(t.Elem(), prefix) + "]"
	case t.Kind() == reflect.Struct:
		return prefix + t.Name()
	case t.Kind() == reflect.Bool:
		return "bool"
	case t.Kind() == reflect.String:
		return "str"
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		return "float"
	case reflect.Zero(t).CanInt() || reflect.Zero(t).CanUint():
		return "int"
	}
	panic(fmt.Sprintf("pysdk: no Python type for %s", t))
}

// paramType is the type of a parameter: wider than what is sent, as parameters
// should be.
func paramType(p api.Param) string {
	typ := indirect(p.Type)
	switch {
	case p.Enum != nil:
		return "types." + typ.Name()
	case p.HostPath:
		return "HostPath"
	case p.Rest:
		return "Command"
	case typ.Kind() == reflect.Slice:
		return "Sequence[" + typeName(typ.Elem(), "types.") + "]"
	case typ.Kind() == reflect.Map:
		return "Mapping[str, " + typeName(typ.Elem(), "types.") + "]"
	}
	return typeName(typ, "types.")
}

// wrap breaks text into lines of at most width columns, each beginning with
// indent and all but the first with hang after it.
func wrap(text, indent, hang string) string {
	var b strings.Builder
	line := indent
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
			line += word
		case len(line)+1+len(word) > width:
			b.WriteString(line + "\n")
			line = indent + hang + word
		default:
			line += " " + word
		}
	}
	b.WriteString(line + "\n")
	return b.String()
}

// docText makes text safe between three quotation marks.
func docText(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\\`), `"""`, `\"\"\"`)
}
