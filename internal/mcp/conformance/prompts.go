package conformance

import (
	"context"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// offerPrompts adds prompts: plain, with arguments, and with other content than
// text.
func offerPrompts(server *mcp.Server) {
	for _, p := range []struct {
		name, about string
		arguments   []string
		content     func(given map[string]string) []mcp.Content
	}{
		{"test_simple_prompt", "A prompt without arguments", nil, func(map[string]string) []mcp.Content {
			return []mcp.Content{words("This is a simple prompt for testing.")}
		}},
		{"test_prompt_with_arguments", "A prompt with arguments", []string{"arg1", "arg2"}, func(given map[string]string) []mcp.Content {
			return []mcp.Content{words(fmt.Sprintf("Prompt with arguments: arg1='%s', arg2='%s'", given["arg1"], given["arg2"]))}
		}},
		{"test_prompt_with_embedded_resource", "A prompt with a resource", []string{"resourceUri"}, func(given map[string]string) []mcp.Content {
			return []mcp.Content{
				embedded(given["resourceUri"], "text/plain", "Embedded resource content for testing."),
				words("Please process the embedded resource above."),
			}
		}},
		{"test_prompt_with_image", "A prompt with an image", nil, func(map[string]string) []mcp.Content {
			return []mcp.Content{image(), words("Please analyze the image above.")}
		}},
	} {
		prompt := &mcp.Prompt{Name: p.name, Description: p.about}
		for _, name := range p.arguments {
			prompt.Arguments = append(prompt.Arguments, &mcp.PromptArgument{Name: name, Description: "For the conformance suite", Required: true})
		}
		server.AddPrompt(prompt, func(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			res := &mcp.GetPromptResult{Description: p.about}
			for _, content := range p.content(req.Params.Arguments) {
				res.Messages = append(res.Messages, &mcp.PromptMessage{Role: "user", Content: content})
			}
			return res, nil
		})
	}
}
