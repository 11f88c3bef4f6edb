package conformance

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// offerQuestions adds tools that ask the client: for a model's words, or for
// its user's.
func offerQuestions(server *mcp.Server) {
	offer(server, "test_sampling", sample)
	for name, schema := range map[string]string{
		"test_elicitation": `{"type": "object", "required": ["username", "email"], "properties": {
			"username": {"type": "string", "description": "User's response"},
			"email": {"type": "string", "description": "User's email address"}}}`,
		"test_elicitation_sep1034_defaults": `{"type": "object", "properties": {
			"name": {"type": "string", "description": "User name", "default": "John Doe"},
			"age": {"type": "integer", "description": "User age", "default": 30},
			"score": {"type": "number", "description": "User score", "default": 95.5},
			"status": {"type": "string", "description": "User status", "enum": ["active", "inactive", "pending"], "default": "active"},
			"verified": {"type": "boolean", "description": "Verification status", "default": true}}}`,
		"test_elicitation_sep1330_enums": `{"type": "object", "properties": {
			"untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
			"titledSingle": {"type": "string", "oneOf": [
				{"const": "value1", "title": "First Option"}, {"const": "value2", "title": "Second Option"}, {"const": "value3", "title": "Third Option"}]},
			"legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]},
			"untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
			"titledMulti": {"type": "array", "items": {"anyOf": [
				{"const": "value1", "title": "First Choice"}, {"const": "value2", "title": "Second Choice"}, {"const": "value3", "title": "Third Choice"}]}}}}`,
	} {
		offer(server, name, func(ctx context.Context, req *mcp.CallToolRequest) ([]mcp.Content, error) {
			message := argument(req, "message")
			if message == "" {
				message = "Please answer"
			}
			res, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Message: message, RequestedSchema: json.RawMessage(schema)})
			if err != nil {
				return nil, err
			}
			content, err := json.Marshal(res.Content)
			return []mcp.Content{words(fmt.Sprintf("Elicitation completed: action=%s, content=%s", res.Action, content))}, err
		})
	}
}

func sample(ctx context.Context, req *mcp.CallToolRequest) ([]mcp.Content, error) {
	//nolint:staticcheck // deprecated by a later version of the protocol than those that the suite tests
	res, err := req.Session.CreateMessage(ctx, &mcp.CreateMessageParams{
		Messages:  []*mcp.SamplingMessage{{Role: "user", Content: words(argument(req, "prompt"))}},
		MaxTokens: 100,
	})
	if err != nil {
		return nil, err
	}
	text, ok := res.Content.(*mcp.TextContent)
	if !ok {
		return nil, fmt.Errorf("the client gave %T", res.Content)
	}
	return []mcp.Content{words("LLM response: " + text.Text)}, nil
}

// argument is an argument that is a string, "" without.
func argument(req *mcp.CallToolRequest, name string) string {
	var given map[string]any
	if json.Unmarshal(req.Params.Arguments, &given) != nil {
		return ""
	}
	text, _ := given[name].(string)
	return text
}
