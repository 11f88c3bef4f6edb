package mcp

import (
	"encoding/json"
	"reflect"
	"strconv"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"pyro/api"
)

// nothing is the schema that no value fits.
func nothing() *jsonschema.Schema { return &jsonschema.Schema{Not: &jsonschema.Schema{}} }

// object makes the schema of an object without properties.
func object() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", Properties: map[string]*jsonschema.Schema{}}
}

// add gives the object schema s a property.
func add(s *jsonschema.Schema, name string, property *jsonschema.Schema, required bool) {
	s.Properties[name] = property
	s.PropertyOrder = append(s.PropertyOrder, name)
	if required {
		s.Required = append(s.Required, name)
	}
}

// inputSchema describes the arguments: names, types, defaults, allowed values.
// Defaults of sizes are the server's bound if that is smaller.
func (t tool) inputSchema(maxText int) *jsonschema.Schema {
	s := object()
	s.AdditionalProperties = nothing()
	for _, p := range t.params {
		property := typeSchema(p.Type, true)
		if !t.brief || p.Name != "workspace_id" { // which says what it is, in every tool
			property.Description = p.Doc
		}
		property.Default = defaultOf(p, maxText)
		add(s, p.Name, property, p.Required)
	}
	return s
}

// defaultOf is the default of an argument as JSON, nil if there is none.
func defaultOf(p api.Param, maxText int) json.RawMessage {
	if p.Default == "" {
		return nil
	}
	value := reflect.New(p.Type).Elem()
	if err := p.Set(value, p.Default); err != nil {
		panic("mcp: " + err.Error()) // a test of package api sets every default
	}
	if isSize(p) && value.Int() > int64(maxText) {
		return json.RawMessage(strconv.Itoa(maxText))
	}
	b, err := json.Marshal(value.Interface())
	if err != nil {
		panic("mcp: " + err.Error())
	}
	return b
}

// outputSchema describes the structured content. An answer is the result or an
// error, and clients differ in whether they check errors against the schema:
// both fit it.
func (t tool) outputSchema() *jsonschema.Schema {
	if t.brief {
		return t.briefSchema()
	}
	s := structSchema(t.result, true)
	if _, taken := s.Properties[omittedField]; !taken {
		add(s, omittedField, &jsonschema.Schema{
			Type: "array", Items: &jsonschema.Schema{Type: "string"},
			Description: "what this answer leaves out because it is long, and where all of it is",
		}, false)
	}
	s.AnyOf = []*jsonschema.Schema{{Required: s.Required}, {Required: []string{"kind", "message"}}}
	s.Required = nil
	return s
}

// briefSchema names the fields that matter most, without what they mean or hold.
func (t tool) briefSchema() *jsonschema.Schema {
	whole := structSchema(t.result, false)
	keep := whole.Required
	if names, ok := briefly[t.result]; ok {
		keep = names
	}
	s := object()
	for _, name := range keep {
		property := whole.Properties[name]
		add(s, name, &jsonschema.Schema{Type: property.Type, Types: property.Types}, false)
	}
	return s
}

// typeSchema describes a Go type as it stands in JSON. docs says to describe
// the fields of structs too.
func typeSchema(t reflect.Type, docs bool) *jsonschema.Schema {
	switch t.Kind() {
	case reflect.Pointer:
		return typeSchema(t.Elem(), docs)
	case reflect.Bool:
		return &jsonschema.Schema{Type: "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return &jsonschema.Schema{Type: "integer"}
	case reflect.Float32, reflect.Float64:
		return &jsonschema.Schema{Type: "number"}
	case reflect.Slice, reflect.Array:
		return &jsonschema.Schema{Type: "array", Items: typeSchema(t.Elem(), docs)}
	case reflect.Map:
		return &jsonschema.Schema{Type: "object", AdditionalProperties: typeSchema(t.Elem(), docs)}
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return &jsonschema.Schema{Type: "string", Format: "date-time"}
		}
		return structSchema(t, docs)
	}
	s := &jsonschema.Schema{Type: "string"}
	if v, ok := reflect.Zero(t).Interface().(interface{ Values() []string }); ok {
		for _, value := range v.Values() {
			s.Enum = append(s.Enum, value)
		}
	}
	return s
}

// structSchema describes a struct by its json and doc tags. A pointer that is
// not left out when it is nil may be null.
func structSchema(t reflect.Type, docs bool) *jsonschema.Schema {
	s := object()
	for _, f := range jsonFields(t) {
		property := typeSchema(f.Type, docs)
		if f.Type.Kind() == reflect.Pointer && !f.optional {
			property.Types, property.Type = []string{property.Type, "null"}, ""
		}
		if docs {
			property.Description = f.Tag.Get("doc")
		}
		add(s, f.json, property, !f.optional)
	}
	return s
}
