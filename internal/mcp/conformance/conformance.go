// Package conformance gives the MCP server what the conformance suite of the
// protocol asks a server for: tools that answer with images, resources that can
// be watched, prompts, questions to the client's user, and so on.
//
// pyro has no use for most of them, so that without this package the suite could
// look at a small part of the server only. With it the suite goes through the
// same transports, sessions and guards that serve pyro's own tools. The names and
// the texts are the suite's: npm, @modelcontextprotocol/conformance.
//
//	opts := mcp.ServerOptions{}
//	conformance.Prepare(&opts)
//	server := mcp.NewServer(implementation, &opts)
//	conformance.Offer(server)
package conformance

import (
	"context"
	"encoding/base64"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Prepare sets what a server must be able to do for the suite: complete
// arguments and let resources be watched.
func Prepare(opts *mcp.ServerOptions) {
	opts.CompletionHandler = func(context.Context, *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
		return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: []string{}}}, nil
	}
	opts.SubscribeHandler = func(context.Context, *mcp.SubscribeRequest) error { return nil }
	opts.UnsubscribeHandler = func(context.Context, *mcp.UnsubscribeRequest) error { return nil }
	opts.Capabilities = nil // the library says what there is
}

// Offer adds the suite's tools, resources and prompts to a server.
func Offer(server *mcp.Server) {
	offerContent(server)
	offerCalls(server)
	offerQuestions(server)
	offerResources(server)
	offerPrompts(server)
}

// The smallest files of their kinds: a PNG of one pixel, a WAV of one sample.
const (
	pngBase64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
	wavBase64 = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA=="
)

func image() *mcp.ImageContent {
	return &mcp.ImageContent{MIMEType: "image/png", Data: bytesOf(pngBase64)}
}

func audio() *mcp.AudioContent {
	return &mcp.AudioContent{MIMEType: "audio/wav", Data: bytesOf(wavBase64)}
}

func bytesOf(text string) []byte {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic("conformance: " + err.Error()) // a constant of this file
	}
	return b
}

func embedded(uri, mimeType, text string) *mcp.EmbeddedResource {
	return &mcp.EmbeddedResource{Resource: &mcp.ResourceContents{URI: uri, MIMEType: mimeType, Text: text}}
}
