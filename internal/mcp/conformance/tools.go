package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// pause lies between two notifications, so that each is one of its own.
const pause = 50 * time.Millisecond

// offerContent adds tools that answer with every kind of content.
func offerContent(server *mcp.Server) {
	for name, content := range map[string][]mcp.Content{
		"test_simple_text":       {words("This is a simple text response for testing.")},
		"test_image_content":     {image()},
		"test_audio_content":     {audio()},
		"test_embedded_resource": {embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")},
		"test_multiple_content_types": {
			words("Multiple content types test:"), image(),
			embedded("test://mixed-content-resource", "application/json", `{"test":"data","value":123}`),
		},
	} {
		offer(server, name, func(context.Context, *mcp.CallToolRequest) ([]mcp.Content, error) { return content, nil })
	}
}

// offerCalls adds tools that do something besides answering.
func offerCalls(server *mcp.Server) {
	offer(server, "test_error_handling", func(context.Context, *mcp.CallToolRequest) ([]mcp.Content, error) {
		return nil, errors.New("This tool intentionally returns an error for testing")
	})
	offer(server, "test_tool_with_logging", logs)
	offer(server, "test_tool_with_progress", progresses)
	offer(server, "test_reconnection", reconnects)
	server.AddTool(&mcp.Tool{
		Name: "json_schema_2020_12_tool", Description: "Tool with JSON Schema 2020-12 features", InputSchema: json.RawMessage(schema2020),
	}, func(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{words("called with " + string(req.Params.Arguments))}}, nil
	})
}

// schema2020 must reach the client as it is, keywords that the library does not
// use included.
const schema2020 = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "$defs": {
    "address": {"type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}
  },
  "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
  "additionalProperties": false
}`

func words(text string) *mcp.TextContent { return &mcp.TextContent{Text: text} }

// offer adds a tool that takes anything.
func offer(server *mcp.Server, name string, answer func(context.Context, *mcp.CallToolRequest) ([]mcp.Content, error)) {
	server.AddTool(&mcp.Tool{
		Name: name, Description: "For the conformance suite: " + name, InputSchema: json.RawMessage(`{"type":"object"}`),
	}, func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		content, err := answer(ctx, req)
		if err != nil {
			return &mcp.CallToolResult{IsError: true, Content: []mcp.Content{words(err.Error())}}, nil
		}
		return &mcp.CallToolResult{Content: content}, nil
	})
}

func logs(ctx context.Context, req *mcp.CallToolRequest) ([]mcp.Content, error) {
	for _, text := range []string{"Tool execution started", "Tool processing data", "Tool execution completed"} {
		//nolint:staticcheck // deprecated by a later version of the protocol than those that the suite tests
		if err := req.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "info", Data: text}); err != nil {
			return nil, err
		}
		time.Sleep(pause)
	}
	return []mcp.Content{words("Tool with logging executed successfully")}, nil
}

func progresses(ctx context.Context, req *mcp.CallToolRequest) ([]mcp.Content, error) {
	token := req.Params.GetProgressToken()
	for _, done := range []float64{0, 50, 100} {
		if err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Progress: done, Total: 100}); err != nil {
			return nil, err
		}
		time.Sleep(pause)
	}
	return []mcp.Content{words(fmt.Sprint(token))}, nil
}

// reconnects closes the stream on which its answer would go: the client comes
// again and gets it.
func reconnects(_ context.Context, req *mcp.CallToolRequest) ([]mcp.Content, error) {
	if req.Extra != nil && req.Extra.CloseSSEStream != nil {
		req.Extra.CloseSSEStream(mcp.CloseSSEStreamArgs{RetryAfter: 10 * time.Millisecond})
	}
	time.Sleep(2 * pause)
	return []mcp.Content{words("Reconnection test completed successfully")}, nil
}
