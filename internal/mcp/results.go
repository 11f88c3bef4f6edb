package mcp

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"pyro/api"
)

// ResultSchemas is the document docs/reference/schemas.json: for every
// operation, in a line under its name in $defs, the JSON schema of what `--json` prints
// and Python gives, and as "error" that of an error. Fields may be added to a
// result, so the schemas allow more than they name.
func ResultSchemas() string {
	failure := object()
	add(failure, "error", structSchema(reflect.TypeFor[api.Error](), true), true)
	var b strings.Builder
	b.WriteString("{\n\"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n\"title\": \"Results of pyro's operations, by their names\",\n\"$defs\": {\n")
	for _, op := range api.Operations() {
		s := structSchema(op.Result, true)
		s.Title = op.Summary
		fmt.Fprintf(&b, "%q: %s,\n", op.Name, schemaText(s))
	}
	fmt.Fprintf(&b, "\"error\": %s\n}\n}\n", schemaText(failure))
	return b.String()
}

func schemaText(s *jsonschema.Schema) string {
	doc, err := marshal(s)
	if err != nil {
		panic("mcp: " + err.Error()) // made of the table, all of which a test goes through
	}
	return string(doc)
}
