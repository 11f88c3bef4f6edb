package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"pyro/api"
)

// field is a field of a struct as JSON has it.
type field struct {
	name     string
	typ      reflect.Type
	doc      string
	optional bool // the key may be absent
	nullable bool // the value may be null
}

// fieldsOf lists the fields of a struct; those of embedded structs stand where
// they are embedded.
func fieldsOf(t reflect.Type) []field {
	var all []field
	for _, f := range reflect.VisibleFields(t) {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || name == "-" || name == "" {
			continue
		}
		optional := strings.Contains(opts, "omit")
		all = append(all, field{
			name: name, typ: f.Type, doc: f.Tag.Get("doc"),
			optional: optional, nullable: f.Type.Kind() == reflect.Pointer && !optional,
		})
	}
	return all
}

// dictSet is the structs that answers and requests are made of, and what uses
// each.
type dictSet struct {
	types []reflect.Type
	users map[reflect.Type][]string
}

// add adds the struct that t is, points to or lists, and the structs within.
func (s *dictSet) add(t reflect.Type, user string) {
	if t = structOf(t); t == nil {
		return
	}
	if !slices.Contains(s.users[t], user) {
		s.users[t] = append(s.users[t], user)
	}
	if slices.Contains(s.types, t) {
		return
	}
	s.types = append(s.types, t)
	for _, f := range fieldsOf(t) {
		s.add(f.typ, t.Name())
	}
}

// structOf returns the struct of package api that t is made of, or nil.
func structOf(t reflect.Type) reflect.Type {
	for t != nil && (t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map) {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct || t.PkgPath() != reflect.TypeFor[api.Operation]().PkgPath() {
		return nil
	}
	return t
}

// typedDicts writes the module types.
func typedDicts(ops []*api.Operation) string {
	set := dictSet{users: map[reflect.Type][]string{}}
	enums := map[string][]string{}
	for _, op := range ops {
		if op.Python == "" {
			continue
		}
		set.add(op.Result, "Pyro."+op.Python)
		set.add(op.Event, "Pyro."+op.Python)
		for _, p := range api.Params(op.Request) {
			set.add(p.Type, "Pyro."+op.Python)
			if p.Enum != nil {
				enums[indirect(p.Type).Name()] = p.Enum
			}
		}
	}
	var b strings.Builder
	b.WriteString("\"\"\"What the methods of Pyro give and take, as plain dictionaries with known keys.\n\n" +
		"Keys may be added in later versions. Times are text, as RFC 3339 has them.\n\"\"\"\n\n" +
		"from __future__ import annotations\n\nfrom typing import Literal, TypedDict\n\n")
	names := sortedKeys(enums)
	for _, name := range names {
		fmt.Fprintf(&b, "%s = Literal[%s]\n", name, quotedList(enums[name]))
	}
	slices.SortFunc(set.types, func(a, b reflect.Type) int { return strings.Compare(a.Name(), b.Name()) })
	for _, t := range set.types {
		typedDict(&b, t, set.users[t])
		names = append(names, t.Name())
	}
	slices.Sort(names)
	fmt.Fprintf(&b, "\n\n__all__ = [\n    %s,\n]\n", strings.ReplaceAll(quotedList(names), ", ", ",\n    "))
	return b.String()
}

// typedDict writes one class. Python 3.10 has no NotRequired, so the keys that
// must be there are in a class of their own; it has no way either to write a
// keyword as a field, so such keys are in another one.
func typedDict(b *strings.Builder, t reflect.Type, users []string) {
	var required, optional, reserved []field
	for _, f := range fieldsOf(t) {
		switch {
		case identifier(f.name) == f.name && f.optional:
			optional = append(optional, f)
		case identifier(f.name) == f.name:
			required = append(required, f)
		case f.optional:
			panic(fmt.Sprintf("pysdk: the key %q of %s is a keyword and optional", f.name, t.Name()))
		default:
			reserved = append(reserved, f)
		}
	}
	base := "TypedDict"
	if len(reserved) > 0 {
		base = "_" + t.Name() + "Reserved"
		fmt.Fprintf(b, "\n%s = TypedDict(\n    %s,\n    {\n", base, quoted(base))
		for _, f := range reserved {
			fmt.Fprintf(b, "%s        %s: %s,\n", comment(f, "        "), quoted(f.name), quoted(valueType(f)))
		}
		b.WriteString("    },\n)\n")
	}
	total := ""
	if len(optional) > 0 {
		total = ", total=False"
		if len(required) > 0 {
			fmt.Fprintf(b, "\n\nclass _%sRequired(%s):\n", t.Name(), base)
			writeFields(b, required)
			base, required = "_"+t.Name()+"Required", nil
		}
	}
	fmt.Fprintf(b, "\n\nclass %s(%s%s):\n%s\n\n", t.Name(), base, total, classDoc(users))
	writeFields(b, append(required, optional...))
}

func writeFields(b *strings.Builder, fields []field) {
	for _, f := range fields {
		fmt.Fprintf(b, "%s    %s: %s\n", comment(f, "    "), f.name, valueType(f))
	}
}

func comment(f field, indent string) string { return wrap(f.doc, indent+"#: ", "") }

func valueType(f field) string {
	name := typeName(f.typ, "")
	if f.nullable {
		name += " | None"
	}
	return name
}

// classDoc says where a dictionary occurs.
func classDoc(users []string) string {
	return strings.TrimSuffix(wrap(`"""Of `+strings.Join(users, ", ")+`."""`, "    ", ""), "\n")
}

func quotedList(values []string) string {
	var all []string
	for _, v := range values {
		all = append(all, quoted(v))
	}
	return strings.Join(all, ", ")
}
