package mcp

import (
	"reflect"
	"slices"
	"strings"
	"sync"

	"pyro/api"
)

// jsonField is a field of a struct as it stands in JSON.
type jsonField struct {
	reflect.StructField
	json     string // its name there
	optional bool   // left out when it is empty
	// repeated says that it says again, in another form, what a field beside
	// it or around it says.
	repeated bool
	// written and truncated are where a text X has neighbours XBytes, how much
	// text there was at first, and XTruncated; nil without.
	written, truncated []int
}

// repeated are the fields that repeat others. They are cut first, and the text
// of an answer never has them.
var repeated = map[reflect.Type][]string{
	reflect.TypeFor[api.Diff]():        {"PatchBase64"},
	reflect.TypeFor[api.DiffEntry]():   {"TextPatch", "PathBase64"},
	reflect.TypeFor[api.ShellOutput](): {"OutputBase64"},
	reflect.TypeFor[api.ServiceLog]():  {"Chunks"},
}

// fieldsByType caches jsonFields: an answer may have 100,000 structs.
var fieldsByType sync.Map // reflect.Type to []jsonField

// jsonFields lists the fields of a struct as encoding/json sees them.
func jsonFields(t reflect.Type) []jsonField {
	if cached, ok := fieldsByType.Load(t); ok {
		return cached.([]jsonField)
	}
	var fields []jsonField
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || !f.IsExported() || name == "-" {
			continue
		}
		field := jsonField{StructField: f, json: name, optional: strings.HasPrefix(options, "omit")}
		field.repeated = slices.Contains(repeated[t], f.Name)
		if n, ok := t.FieldByName(f.Name + "Bytes"); ok && f.Type.Kind() == reflect.String && n.Type.Kind() == reflect.Int64 {
			field.written = n.Index
		}
		if b, ok := t.FieldByName(f.Name + "Truncated"); ok && b.Type.Kind() == reflect.Bool {
			field.truncated = b.Index
		}
		fields = append(fields, field)
	}
	fieldsByType.Store(t, fields)
	return fields
}
