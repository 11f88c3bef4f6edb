package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pyro/api"
	"pyro/internal/mcp"
)

// tokenVariable holds the token of the MCP server's HTTP transport.
const tokenVariable = "PYRO_MCP_TOKEN"

// mcp makes `pyro mcp serve`, the server for models.
func (a *app) mcp() *cobra.Command {
	parent := a.parent("mcp")
	parent.Short = "The server for models, by the Model Context Protocol"
	parent.AddCommand(a.mcpServe())
	return parent
}

// mcpFlags are what the user chose of the server.
type mcpFlags struct {
	http, profile, tokenFile, project string
	answerWithin                      int
	noProject, conformance            bool
}

func (a *app) mcpServe() *cobra.Command {
	var f mcpFlags
	cmd := &cobra.Command{
		Use:                   "serve [flags]",
		DisableFlagsInUseLine: true,
		Short:                 "Serve MCP on stdin and stdout, or over HTTP",
		Long: `Serve MCP on stdin and stdout, or over HTTP.

Programs that run models start this by themselves once it is in their
configuration. Cancelled calls and the end of the server end the commands that
they run.

With --http the URL is http://ADDR/mcp. Another address than a loopback one
needs a token in ` + tokenVariable + ` or a file, which clients send as
Authorization: Bearer TOKEN. Whoever may talk to the server may read and write
files of this host as you: seeds and exports name them.

Started in a Git checkout, workspaces whose creator names no seed begin with the
files that git tracks there, as they are in the working tree. --project-path
names another folder; of one in no checkout everything is copied.

Profiles:
` + profileList(),
		Example: "  pyro mcp serve\n  pyro mcp serve --profile workspace-full --http 127.0.0.1:8765",
		Args:    cobra.ArbitraryArgs,
	}
	cmd.Flags().StringVar(&f.http, "http", "", "serve streamable HTTP on `ADDR`, HOST:PORT, instead of stdin and stdout")
	cmd.Flags().StringVar(&f.profile, "profile", mcp.DefaultProfile, "which tools to offer, a `NAME` of the list above")
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "read the token of HTTP from `PATH` instead of "+tokenVariable)
	cmd.Flags().IntVar(&f.answerWithin, "answer-within-seconds", int(mcp.DefaultAnswerWithin.Seconds()),
		"answer about a command of a workspace that runs longer than `N` seconds while it goes on")
	cmd.Flags().StringVar(&f.project, "project-path", "", "seed workspaces that name no seed with the project in the folder `PATH` instead")
	cmd.Flags().BoolVar(&f.noProject, "no-project-source", false, "begin workspaces that name no seed empty")
	cmd.Flags().BoolVar(&f.conformance, "conformance", false, "offer what the conformance suite of the protocol asks for too")
	_ = cmd.Flags().MarkHidden("conformance") // it exists
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := noArgs(cmd, args); err != nil {
			return err
		}
		return a.serveMCP(f)
	}
	return cmd
}

func profileList() string {
	var b strings.Builder
	for _, p := range mcp.Profiles() {
		b.WriteString("  " + pad(p.Name, 16) + p.Doc + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

func (a *app) serveMCP(f mcpFlags) error {
	if f.answerWithin < 1 {
		return api.Errorf(api.KindUsage, "--answer-within-seconds is %d, at least 1 is needed", f.answerWithin)
	}
	token, err := a.mcpToken(f)
	if err != nil {
		return err
	}
	c, err := a.newClient()
	if err != nil {
		return err
	}
	project, err := f.projectFolder()
	if err != nil {
		return err
	}
	server, err := mcp.New(mcp.Options{
		Client: c, Profile: f.profile, Project: project, AnswerWithin: time.Duration(f.answerWithin) * time.Second, Conformance: f.conformance,
	})
	if err != nil {
		return err
	}
	return a.interruptible(func(ctx context.Context) error {
		if f.http == "" {
			return server.ServeStdio(ctx, a.Stdin, a.Stdout)
		}
		return server.ServeHTTP(ctx, mcp.HTTPOptions{
			Address: f.http, Token: token,
			Ready: func(url string) { fmt.Fprintf(a.Stderr, "[mcp-serve] url=%s\n", url) },
		})
	})
}

// projectFolder is the folder that workspaces begin with when their creator
// names no seed, "" for none.
func (f mcpFlags) projectFolder() (string, error) {
	switch {
	case f.noProject && f.project != "":
		return "", api.Errorf(api.KindUsage, "--project-path and --no-project-source exclude each other")
	case f.noProject:
		return "", nil
	case f.project == "":
		dir, err := os.Getwd()
		if err != nil { // removed, for example: no project then
			return "", nil
		}
		return mcp.Checkout(dir), nil
	}
	path, err := filepath.Abs(f.project)
	if err != nil {
		return "", api.Errorf(api.KindUsage, "--project-path: %w", err)
	}
	if info, err := os.Stat(path); err != nil {
		return "", api.Errorf(api.KindUsage, "--project-path: %w", err)
	} else if !info.IsDir() {
		return "", api.Errorf(api.KindUsage, "--project-path: %s is not a folder", path)
	}
	return path, nil
}

// mcpToken returns the token of HTTP, "" if there is none.
func (a *app) mcpToken(f mcpFlags) (string, error) {
	switch {
	case f.tokenFile != "" && f.http == "":
		return "", api.Errorf(api.KindUsage, "--token-file is for --http").WithHint("pyro mcp serve --help")
	case f.tokenFile == "":
		return a.getenv(tokenVariable), nil
	}
	b, err := os.ReadFile(f.tokenFile)
	if err != nil {
		return "", api.Errorf(api.KindUsage, "--token-file: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", api.Errorf(api.KindUsage, "--token-file: %s is empty", f.tokenFile)
	}
	return token, nil
}
