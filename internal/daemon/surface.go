package daemon

import (
	"strings"

	"pyro/api"
)

// headerSurface is on requests of callers who know pyro by other names than the
// command line's; their errors are said in those.
const headerSurface = "Pyro-Surface"

// phrasings say hints of errors for the surfaces that may be named.
var phrasings = map[string]api.Phrasing{"python": {Command: pythonCall, Flag: pythonParameter}}

// pythonCall says a mention as a call of the Python package: what is positional
// on the command line is so there too.
func pythonCall(m api.Mention) (string, bool) {
	if m.Python == "" {
		return "", false
	}
	var args []string
	for _, a := range m.Args {
		value, ok := a.JSON()
		if !ok {
			return "", false
		}
		if value == "true" && a.TypeName() == "boolean" {
			value = "True"
		}
		if a.Arg == "" || a.Rest {
			value = a.Name + "=" + value
		}
		args = append(args, value)
	}
	return m.Python + "(" + strings.Join(args, ", ") + ")", true
}

func pythonParameter(op *api.Operation, p api.Param) (string, bool) { return p.Name, op.Python != "" }
