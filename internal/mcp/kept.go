package mcp

import (
	"context"
	"crypto/rand"
	"reflect"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	// maxKept bounds one kept answer, and maxKeptAll all of them, in bytes of
	// JSON.
	maxKept    = 4 << 20
	maxKeptAll = 16 << 20
	keptPrefix = "pyro://answers/"
)

// kept has the latest answers that were cut, for clients that want to read on.
// The oldest make room for the newest. Ids cannot be guessed.
type kept struct {
	mu   sync.Mutex // guards the rest
	docs map[string]string
	ids  []string // oldest first
	size int
}

func newKept() *kept { return &kept{docs: map[string]string{}} }

// keep keeps a result and returns its URI, or "" if it is too large.
func (k *kept) keep(v reflect.Value) string {
	if textSize(v) > maxKept {
		return ""
	}
	doc, err := marshal(v.Addr().Interface())
	if err != nil || len(doc) > maxKept {
		return ""
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.size+len(doc) > maxKeptAll {
		oldest := k.ids[0]
		k.size -= len(k.docs[oldest])
		delete(k.docs, oldest)
		k.ids = k.ids[1:]
	}
	uri := keptPrefix + rand.Text()
	k.docs[uri], k.ids, k.size = string(doc), append(k.ids, uri), k.size+len(doc)
	return uri
}

func (k *kept) register(server *mcp.Server) {
	server.AddResourceTemplate(&mcp.ResourceTemplate{
		Name: "answers", URITemplate: keptPrefix + "{id}", MIMEType: "application/json",
		Description: "An answer that was too long for its tool's result",
	}, func(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		uri := req.Params.URI
		k.mu.Lock()
		defer k.mu.Unlock()
		doc, ok := k.docs[uri]
		if !ok {
			return nil, mcp.ResourceNotFoundError(uri)
		}
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: uri, MIMEType: "application/json", Text: doc}}}, nil
	})
}
