package cli

import (
	"encoding/base64"
	"io"
	"os"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"pyro/api"
)

// ownWriteFile lets the content come from a flag, a file or stdin.
func (a *app) ownWriteFile(cmd *cobra.Command, req *api.WriteFileRequest) func(bool) (bool, error) {
	content := cmd.Flags().String("content", "", "the content itself, instead of stdin")
	from := cmd.Flags().String("from-file", "", "file of the host with the content, instead of stdin")
	return func(bool) (bool, error) {
		switch {
		case cmd.Flags().Changed("content") && *from != "":
			return true, api.Errorf(api.KindUsage, "--content and --from-file are both given").WithHint("choose one")
		case cmd.Flags().Changed("content"):
			req.Content, req.Encoding = asText([]byte(*content))
			return false, nil
		}
		b, err := a.input(*from)
		if err != nil {
			return true, err
		}
		req.Content, req.Encoding = asText(b)
		return false, nil
	}
}

// ownApplyPatch lets the patch come from a file or stdin.
func (a *app) ownApplyPatch(cmd *cobra.Command, req *api.ApplyPatchRequest) func(bool) (bool, error) {
	from := cmd.Flags().String("from-file", "", "file of the host with the patch, instead of stdin")
	return func(bool) (bool, error) {
		b, err := a.input(*from)
		if err != nil {
			return true, err
		}
		req.Patch, req.Encoding = asText(b)
		return false, nil
	}
}

// input reads a file of the host, or stdin if there is no name.
func (a *app) input(name string) ([]byte, error) {
	in, what := a.Stdin, "stdin"
	switch {
	case name != "":
		f, err := os.Open(name)
		if err != nil {
			return nil, api.Errorf(api.KindUsage, "--from-file: %w", err)
		}
		defer f.Close()
		in, what = f, name
	case in == nil:
		return nil, nil
	case isTerminal(in):
		return nil, api.Errorf(api.KindUsage, "stdin is a terminal, and nothing says what to take instead").
			WithHint("redirect it (< FILE), or use --from-file FILE")
	}
	b, err := io.ReadAll(io.LimitReader(in, api.MaxFileWrite+1))
	if err != nil {
		return nil, api.Errorf(api.KindUsage, "%s: %w", what, err)
	}
	if len(b) > api.MaxFileWrite {
		return nil, api.Errorf(api.KindUsage, "%s has more than %d bytes", what, api.MaxFileWrite).
			WithHint("push larger files: pyro workspace sync push")
	}
	return b, nil
}

// asText says bytes in a request: as they are if they are text.
func asText(b []byte) (string, api.Encoding) {
	if utf8.Valid(b) {
		return string(b), api.UTF8
	}
	return base64.StdEncoding.EncodeToString(b), api.Base64
}
