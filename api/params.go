package api

import (
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Param is the public description of one field of a request: what the struct
// tags say, taken apart. Flags, schemas, checks and the reference derive from it.
type Param struct {
	// Name is the field's name in HTTP, MCP and Python.
	Name string
	// Flag is the flag's name without dashes, Arg the name of a positional
	// argument. At most one of them is set; with neither, the command line does
	// not offer the field.
	Flag, Arg string
	// Rest says that Arg takes everything that follows.
	Rest bool
	// HostPath says that the value is a path on the caller's host, which the
	// command line makes absolute because the background process lives elsewhere.
	HostPath bool
	// Dash says that the host path "-" stands for the command line's own stdout,
	// which only the command line can do something with.
	Dash bool
	// Words are values of a host path that are no paths but mean something by
	// themselves; a file of that name is ./WORD.
	Words []string
	// Required fields have no default and must not be empty, unless Empty says
	// that empty is a value like others.
	Required, Empty bool
	// Default is the text of the default, "" if there is none.
	Default string
	// Enum lists the allowed values, if they are limited.
	Enum []string
	// Doc is one phrase without a full stop.
	Doc string
	// Type is the field's type, Index its place for reflect.Value.FieldByIndex.
	Type  reflect.Type
	Index []int
}

// Params returns the parameters of a request type in the order of its fields;
// the fields of embedded structs stand where they are embedded.
func Params(request reflect.Type) []Param {
	var params []Param
	for _, f := range reflect.VisibleFields(request) {
		if f.Anonymous || !f.IsExported() {
			continue
		}
		params = append(params, paramOf(f))
	}
	return params
}

func paramOf(f reflect.StructField) Param {
	p := Param{Doc: f.Tag.Get("doc"), Default: f.Tag.Get("default"), Type: f.Type, Index: f.Index}
	name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
	p.Name = name
	p.Required = opts == "" && p.Default == "" && f.Type.Kind() != reflect.Pointer && f.Type.Kind() != reflect.Bool
	cli := strings.Split(f.Tag.Get("cli"), ",")
	switch {
	case slices.Contains(cli, "arg"):
		p.Arg = cli[0]
	case slices.Contains(cli, "rest"):
		p.Arg, p.Rest = cli[0], true
	case cli[0] != "-":
		p.Flag = cli[0]
	}
	p.HostPath = slices.Contains(cli, "hostpath")
	p.Dash = slices.Contains(cli, "dash")
	p.Empty = slices.Contains(cli, "empty")
	for _, opt := range cli {
		if word, ok := strings.CutPrefix(opt, "word="); ok {
			p.Words = append(p.Words, word)
		}
	}
	if v, ok := reflect.Zero(p.elem()).Interface().(interface{ Values() []string }); ok {
		p.Enum = v.Values()
	}
	return p
}

// Path says whether a value is a path on the caller's host.
func (p Param) Path(value string) bool { return p.HostPath && !slices.Contains(p.Words, value) }

func (p Param) elem() reflect.Type {
	if p.Type.Kind() == reflect.Pointer {
		return p.Type.Elem()
	}
	return p.Type
}

// TypeName names the type as the reference does: string, integer, boolean,
// list of string.
func (p Param) TypeName() string { return TypeName(p.Type) }

// TypeName names a Go type as JSON users know it.
func TypeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return TypeName(t.Elem())
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "integer"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.String:
		return "string"
	case reflect.Slice, reflect.Array:
		return "list of " + TypeName(t.Elem())
	case reflect.Map:
		return "map of " + TypeName(t.Elem())
	}
	if t.PkgPath() == "time" && t.Name() == "Time" {
		return "time"
	}
	return t.Name()
}

// Check checks a field that has been set: what is required must be there, an
// enumeration must have one of its values, no number may be negative, one with
// a default must not be zero, and none may exceed 2^31-1, so that arithmetic on
// it cannot overflow. The error is of kind usage and begins with the
// parameter's name.
func (p Param) Check(field reflect.Value) error {
	least := int64(0)
	if p.Default != "" {
		least = 1
	}
	switch value := reflect.Indirect(field); {
	case p.Required && !p.Empty && (field.IsZero() || field.Kind() == reflect.Slice && field.Len() == 0):
		return Errorf(KindUsage, "%s is missing or empty", p.Name)
	case !value.IsValid(): // an optional field that was left out
		return nil
	case value.CanInt() && value.Int() > math.MaxInt32:
		return Errorf(KindUsage, "%s is %d, at most %d is allowed", p.Name, value.Int(), math.MaxInt32)
	case value.CanInt() && value.Int() < least:
		return Errorf(KindUsage, "%s is %d, at least %d is needed", p.Name, value.Int(), least).WithHint("leave it out for the default")
	case p.Enum != nil && (value.String() != "" || p.Default != "") && !slices.Contains(p.Enum, value.String()):
		return Errorf(KindUsage, "%s is %q", p.Name, value.String()).WithHint("use one of: %s", strings.Join(p.Enum, ", "))
	}
	return nil
}

// Set parses text into field, which has the parameter's type; one with a method
// SetText does that itself. The error is of kind usage and names the parameter.
func (p Param) Set(field reflect.Value, text string) error {
	if field.Kind() == reflect.Pointer {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	if t, ok := textSetter(field); ok {
		if err := t.SetText(text); err != nil {
			return Errorf(KindUsage, "%s: %w", p.Name, err).WithHint("%s", AsError(err).Hint)
		}
		return nil
	}
	switch field.Kind() {
	case reflect.String:
		field.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return Errorf(KindUsage, "%s is %q", p.Name, text).WithHint("use true or false")
		}
		field.SetBool(b)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, field.Type().Bits())
		if err != nil {
			return Errorf(KindUsage, "%s is %q, a whole number is needed", p.Name, text)
		}
		field.SetInt(n)
	case reflect.Map: // of string to string: each use adds one
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return Errorf(KindUsage, "%s is %q, KEY=VALUE is needed", p.Name, text)
		}
		if field.IsNil() {
			field.Set(reflect.MakeMap(field.Type()))
		}
		field.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(value))
	case reflect.Slice: // of string: each use adds one
		field.Set(reflect.Append(field, reflect.ValueOf(text).Convert(field.Type().Elem())))
	default:
		return Errorf(KindInternal, "%s has type %s, which cannot be set from text", p.Name, field.Type())
	}
	return nil
}

// textSetter is a field that takes text in a form of its own.
func textSetter(field reflect.Value) (t interface{ SetText(text string) error }, ok bool) {
	if !field.CanAddr() {
		return nil, false
	}
	t, ok = field.Addr().Interface().(interface{ SetText(text string) error })
	return t, ok
}
