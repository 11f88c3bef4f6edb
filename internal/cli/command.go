package cli

import (
	"context"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pyro/api"
)

// add puts the command of a row into the tree, with the parents that its path
// names.
func (a *app) add(root *cobra.Command, op *api.Operation) {
	words := strings.Fields(op.CLI)
	parent := root
	for n, word := range words[:len(words)-1] {
		i := slices.IndexFunc(parent.Commands(), func(c *cobra.Command) bool { return c.Name() == word })
		if i < 0 {
			child := a.parent(word)
			parents[strings.Join(words[:n+1], " ")].describe(child)
			child.GroupID = group(parent, op.Group)
			parent.AddCommand(child)
			parent = child
			continue
		}
		parent = parent.Commands()[i]
	}
	cmd := a.command(op, words[len(words)-1])
	if parent == root {
		cmd.GroupID = group(root, op.Group)
	}
	parent.AddCommand(cmd)
}

// group makes sure that cmd has a group of that title; only the root has any.
func group(cmd *cobra.Command, title string) string {
	if cmd.HasParent() {
		return ""
	}
	if !cmd.ContainsGroup(title) {
		cmd.AddGroup(&cobra.Group{ID: title, Title: title + ":"})
	}
	return title
}

// parent makes a command that only holds others.
func (a *app) parent(name string) *cobra.Command {
	return &cobra.Command{
		Use:           name,
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true, SilenceUsage: true,
		SuggestionsMinimumDistance: 2, // letters that may differ
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			err := api.Errorf(api.KindUsage, "unknown command %q for %s", args[0], cmd.CommandPath())
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				return err.WithHint("%s %s", cmd.CommandPath(), near[0])
			}
			return err.WithHint("%s --help", cmd.CommandPath())
		},
	}
}

// command makes the command of a row.
func (a *app) command(op *api.Operation, name string) *cobra.Command {
	req := reflect.New(op.Request)
	params := api.Params(op.Request)
	cmd := &cobra.Command{
		Use:                   useLine(name, params),
		DisableFlagsInUseLine: true,
		Short:                 op.Summary,
		Long:                  long(op),
		Example:               "  " + op.Example,
		Args:                  cobra.ArbitraryArgs,
	}
	jsonFlag := cmd.Flags().Bool("json", false, "print the result as one JSON document")
	bindFlags(cmd.Flags(), req.Elem(), params)
	own := a.own(cmd, req.Interface())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := bindArgs(cmd, req.Elem(), params, args); err != nil {
			return err
		}
		if own != nil {
			if done, err := own(*jsonFlag); done || err != nil {
				return err
			}
		}
		return a.perform(op, req.Interface(), *jsonFlag)
	}
	return cmd
}

// perform calls the operation and prints what came of it.
func (a *app) perform(op *api.Operation, req any, asJSON bool) error {
	export, _ := req.(*api.ExportRequest)
	switch {
	case op.Mode == api.ModeExec:
		return a.exec(op, req, asJSON)
	case op.Name == api.Doctor.Name:
		return a.doctor(asJSON)
	case export != nil && export.OutputPath == "-":
		return a.exportTar(export, asJSON)
	}
	c, err := a.newClient()
	if err != nil {
		return err
	}
	res := reflect.New(op.Result).Interface()
	err = a.interruptible(func(ctx context.Context) error {
		if op.Mode == api.ModeEvents {
			p := a.progress("pull")
			defer p.end()
			return c.Watch(ctx, op, req, res, p.event)
		}
		return c.Call(ctx, op, req, res)
	})
	if err != nil {
		return startFailure(op, err)
	}
	if asJSON {
		return a.printJSON(res)
	}
	return a.render(op, req, res)
}

// useLine writes "run ENV [flags] -- CMD...", with the flags that must be there.
func useLine(name string, params []api.Param) string {
	var positional, required, rest string
	for _, p := range params {
		switch {
		case p.Rest:
			rest = " -- " + p.Arg + "..."
		case p.Arg != "" && p.Required:
			positional += " " + p.Arg
		case p.Arg != "":
			positional += " [" + p.Arg + "]"
		case p.Flag != "" && p.Required:
			required += " --" + p.Flag + " " + placeholder(p)
		}
	}
	return name + positional + required + " [flags]" + rest
}

// long is the help text: summary, description, arguments.
func long(op *api.Operation) string {
	var b strings.Builder
	b.WriteString(op.Summary + ".\n")
	if op.Doc != "" {
		b.WriteString("\n" + wrap(strings.ReplaceAll(op.Doc, "`", ""), 78) + "\n")
	}
	heading, params := "\nArguments:\n", api.Params(op.Request)
	width := 8
	for _, p := range params {
		width = max(width, len(p.Arg)+2)
	}
	for _, p := range params {
		if p.Arg != "" {
			b.WriteString(heading + "  " + pad(p.Arg, width) + p.Doc + "\n")
			heading = ""
		}
	}
	return strings.TrimSpace(b.String())
}

func pad(s string, width int) string { return s + strings.Repeat(" ", max(1, width-len(s))) }

// wrap breaks text into lines of at most width bytes, between words.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
		case column+1+len(word) > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
