package cli

import (
	"path/filepath"
	"reflect"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pyro/api"
)

// bindFlags gives the fields of req their defaults and makes a flag of each
// that has one.
func bindFlags(flags *pflag.FlagSet, req reflect.Value, params []api.Param) {
	flags.SortFlags = false
	flags.SetInterspersed(false) // bindArgs goes on where parsing stopped
	for _, p := range params {
		field := req.FieldByIndex(p.Index)
		if p.Default != "" {
			_ = p.Set(field, p.Default) // a wrong default fails the table's test
		}
		if p.Flag == "" {
			continue
		}
		usage := p.Doc
		if p.Enum != nil {
			usage += ": " + strings.Join(p.Enum, ", ")
		}
		f := flags.VarPF(&flagValue{p, field}, p.Flag, "", usage)
		f.DefValue = p.Default
		if p.TypeName() == "boolean" {
			f.NoOptDefVal = "true"
		}
	}
}

// flagValue sets a field of a request. It implements pflag.Value.
type flagValue struct {
	param api.Param
	field reflect.Value
}

func (v *flagValue) String() string {
	if v.field.IsValid() && v.field.Kind() == reflect.Bool && v.field.Bool() {
		return "true"
	}
	return v.param.Default
}

func (v *flagValue) Type() string { return placeholder(v.param) }

// placeholder stands for the value of a flag in help texts.
func placeholder(p api.Param) string {
	switch p.TypeName() {
	case "integer":
		return "N"
	case "boolean":
		return "bool"
	}
	if t, ok := reflect.Zero(p.Type).Interface().(interface{ Placeholder() string }); ok {
		return t.Placeholder()
	}
	return strings.ToUpper(p.Flag[strings.LastIndexByte(p.Flag, '-')+1:])
}

// Set checks at once what the row says about the value, in an error that names
// the flag.
func (v *flagValue) Set(text string) error {
	named := v.param
	named.Name = "--" + named.Flag
	if err := setField(named, v.field, text); err != nil {
		return err
	}
	return named.Check(v.field)
}

// bindArgs fills the positional fields of req. Flags may stand before, between
// and after the positional arguments; all that follows the last one, or "--",
// belongs to the field that takes the rest.
func bindArgs(cmd *cobra.Command, req reflect.Value, params []api.Param, args []string) error {
	flags := cmd.Flags()
	literal := flags.ArgsLenAtDash() >= 0 // "--" was seen: no more flags
	var rest *api.Param
	for _, p := range params {
		if p.Arg == "" {
			continue
		}
		if p.Rest {
			rest = &p
			continue
		}
		if len(args) == 0 || literal && !p.Required {
			if p.Required {
				return missing(cmd, p)
			}
			continue
		}
		if err := setArg(cmd, req, p, args[0]); err != nil {
			return err
		}
		args = args[1:]
		if literal {
			continue
		}
		if err := flags.Parse(args); err != nil {
			return flagError(cmd, err)
		}
		literal, args = flags.ArgsLenAtDash() >= 0, flags.Args()
		if help, _ := flags.GetBool("help"); help {
			return pflag.ErrHelp
		}
	}
	switch {
	case rest == nil && len(args) > 0:
		return api.Errorf(api.KindUsage, "unexpected argument %q for %s", args[0], cmd.CommandPath()).WithHint("%s --help", cmd.CommandPath())
	case rest != nil && rest.Required && len(args) == 0:
		return missing(cmd, *rest)
	case rest != nil:
		req.FieldByIndex(rest.Index).Set(reflect.ValueOf(args))
	}
	return missingFlag(cmd, params)
}

// missingFlag returns an error if a flag that must be given was not.
func missingFlag(cmd *cobra.Command, params []api.Param) error {
	for _, p := range params {
		if p.Flag != "" && p.Required && !cmd.Flags().Changed(p.Flag) {
			return api.Errorf(api.KindUsage, "flag --%s (%s) is missing", p.Flag, p.Doc).WithHint("%s", strings.TrimSpace(cmd.Example))
		}
	}
	return nil
}

func setArg(cmd *cobra.Command, req reflect.Value, p api.Param, text string) error {
	if text == "" {
		return missing(cmd, p)
	}
	p.Name = p.Arg
	return setField(p, req.FieldByIndex(p.Index), text)
}

// setField sets a field from the command line. Paths of the host are made
// absolute, because the background process lives in another folder. An empty
// one, of a variable that is not set perhaps, must not become this folder.
func setField(p api.Param, field reflect.Value, text string) error {
	switch {
	case p.HostPath && text == "":
		return api.Errorf(api.KindUsage, "%s is empty, a path is needed", p.Name)
	case p.Path(text) && !(p.Dash && text == "-"):
		abs, err := filepath.Abs(text)
		if err != nil {
			return api.Errorf(api.KindUsage, "%s: %w", p.Name, err)
		}
		text = abs
	}
	return p.Set(field, text)
}

func missing(cmd *cobra.Command, p api.Param) error {
	what := "argument " + p.Arg + " (" + p.Doc + ") is missing"
	if p.Rest {
		what = "no command given"
	}
	return api.Errorf(api.KindUsage, "%s", what).WithHint("%s", strings.TrimSpace(cmd.Example))
}
