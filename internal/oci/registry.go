package oci

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"

	"pyro/api"
)

// Registry pulls images. The zero value plus Blobs works: credentials come from
// Docker's configuration, proxies from the environment.
type Registry struct {
	// Blobs keeps the layers. Required.
	Blobs Blobs
	// Mirror, "HOST[:PORT][/PREFIX]" or an http(s) URL, is asked instead of Docker Hub.
	Mirror string
	// PlainHTTP lists registry hosts that speak HTTP without TLS. Loopback hosts need no entry.
	PlainHTTP []string
	// DockerConfig is the path of Docker's config.json; "" for $DOCKER_CONFIG or ~/.docker/config.json.
	DockerConfig string
	// Transport carries the requests; nil for the standard one with proxies from the environment.
	Transport http.RoundTripper
	// UserAgent is sent with every request; "pyro" when empty.
	UserAgent string
}

// Resolve finds the image for a platform: tag or digest, index, manifest,
// config. Layers are not touched. Errors: KindNotFound for an unknown image,
// KindNetwork, KindUnsupported for another platform or media type,
// KindVerification and KindUnsafe for content that is not what it claims to be.
func (r *Registry) Resolve(ctx context.Context, ref Reference, want Platform) (*Image, error) {
	repo, err := r.repository(ref)
	if err != nil {
		return nil, err
	}
	src := &registrySource{repo: repo, blobs: r.Blobs, name: ref.String()}
	digest, data, mediaType, err := src.manifest(ctx, cmp.Or(ref.Digest, ref.Tag))
	if err != nil {
		return nil, err
	}
	return resolveDocument(ref.String(), digest, mediaType, data, want, src,
		func(d Descriptor) ([]byte, error) {
			_, data, _, err := src.manifest(ctx, d.Digest)
			return data, err
		},
		func(d Descriptor) ([]byte, error) { return src.small(ctx, d) })
}

// resolveDocument follows indexes down to the manifest of the platform. The
// callbacks return verified bytes of a manifest and of a config.
func resolveDocument(name, digest, mediaType string, data []byte, want Platform, src source, manifestOf, configOf func(Descriptor) ([]byte, error)) (*Image, error) {
	for depth := 0; ; depth++ {
		doc, err := parseDocument(name, mediaType, data)
		if err != nil {
			return nil, err
		}
		if doc.manifest != nil {
			config, err := configOf(doc.manifest.config)
			if err != nil {
				return nil, err
			}
			return newImage(name, digest, doc.manifest, config, want, src)
		}
		if depth == maxIndexDepth {
			return nil, unsafef("%s: indexes are nested more than %d deep", name, maxIndexDepth)
		}
		next, err := choose(name, doc.index, want)
		if err != nil {
			return nil, err
		}
		if data, err = manifestOf(next); err != nil {
			return nil, err
		}
		digest, mediaType = next.Digest, next.MediaType
	}
}

// repository prepares the client for one repository: where it is, in which
// protocol, with which credentials.
func (r *Registry) repository(ref Reference) (*remote.Repository, error) {
	host, path, plain := ref.Registry, ref.Repository, false
	if r.Mirror != "" && ref.Registry == dockerHub {
		mirror := strings.TrimSuffix(r.Mirror, "/")
		mirror, plain = strings.CutPrefix(mirror, "http://")
		mirror = strings.TrimPrefix(mirror, "https://")
		var prefix string
		host, prefix, _ = strings.Cut(mirror, "/")
		if prefix != "" {
			path = prefix + "/" + path
		}
		if !hostPattern.MatchString(host) || !repositoryPattern.MatchString(path) {
			return nil, api.Errorf(api.KindUsage, "registry mirror %q is not a host", r.Mirror).
				WithHint("set PYRO_REGISTRY_MIRROR to HOST[:PORT] or http://HOST[:PORT]")
		}
	}
	store, err := r.credentials()
	if err != nil {
		return nil, api.Errorf(api.KindUsage, "docker's config.json cannot be read: %w", err).
			WithHint("repair it, or set DOCKER_CONFIG to another folder")
	}
	transport := r.Transport
	if transport == nil {
		transport = sharedTransport()
	}
	return &remote.Repository{
		Reference: registry.Reference{Registry: host, Repository: path},
		PlainHTTP: plain || isLoopback(host) || slices.Contains(r.PlainHTTP, host),
		Client: &auth.Client{
			Client:     &http.Client{Transport: retry.NewTransport(transport)},
			Header:     http.Header{"User-Agent": {cmp.Or(r.UserAgent, "pyro")}},
			Cache:      auth.NewCache(),
			Credential: credentials.Credential(store),
		},
		ManifestMediaTypes: manifestTypes,
		MaxMetadataBytes:   maxDocument,
	}, nil
}

func (r *Registry) credentials() (credentials.Store, error) {
	if r.DockerConfig != "" {
		return credentials.NewStore(r.DockerConfig, credentials.StoreOptions{})
	}
	return credentials.NewStoreFromDocker(credentials.StoreOptions{})
}

// sharedTransport is the standard transport, which knows the proxies, with two
// changes: a peer that accepts and never answers does not hold us, and a body is
// never decompressed behind our back, for its digest covers the bytes as sent.
var sharedTransport = sync.OnceValue(func() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = time.Minute
	t.DisableCompression = true
	return t
})

// registrySource is the source of an image in a registry.
type registrySource struct {
	repo  *remote.Repository
	blobs Blobs
	name  string
}

// manifest fetches an index or manifest by tag or digest, verifies the digest
// if one was asked for, and returns it with the media type the registry named.
func (s *registrySource) manifest(ctx context.Context, tagOrDigest string) (digest string, data []byte, mediaType string, err error) {
	desc, rc, err := s.repo.Manifests().FetchReference(ctx, tagOrDigest)
	if err != nil {
		return "", nil, "", s.wrap(ctx, err)
	}
	defer rc.Close()
	data, err = io.ReadAll(io.LimitReader(rc, maxDocument+1))
	if err != nil {
		return "", nil, "", s.wrap(ctx, err)
	}
	sum := sha256.Sum256(data)
	digest = "sha256:" + hex.EncodeToString(sum[:])
	if strings.Contains(tagOrDigest, ":") && digest != tagOrDigest {
		return "", nil, "", mismatchf("%s: the registry sent a manifest with digest %s, not %s", s.name, digest, tagOrDigest)
	}
	return digest, data, desc.MediaType, nil
}

// small fetches a document that is kept in memory.
func (s *registrySource) small(ctx context.Context, d Descriptor) ([]byte, error) {
	rc, err := s.repo.Blobs().Fetch(ctx, ocispec.Descriptor{Digest: digestOf(d), Size: d.Size})
	if err != nil {
		return nil, s.wrap(ctx, err)
	}
	defer rc.Close()
	return readVerified(s.name, rc, d)
}

func (s *registrySource) open(l Layer) (io.ReadCloser, error) { return s.blobs.Open(l.Digest) }

// wrap gives an error of the registry client its kind.
func (s *registrySource) wrap(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return api.Errorf(api.KindCanceled, "pull of %s: %w", s.name, context.Cause(ctx))
	}
	host := s.repo.Reference.Host()
	if errors.Is(err, errdef.ErrNotFound) { // any 404
		return api.Errorf(api.KindNotFound, "image %s does not exist at %s: %w", s.name, host, err).
			WithHint("check the name and the tag")
	}
	status := 0
	if e, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		status = e.StatusCode
	}
	if status == http.StatusUnauthorized || status == http.StatusForbidden || errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return api.Errorf(api.KindNetwork, "registry %s refuses access to %s: %w", host, s.name, err).
			WithHint("docker login %s, or check the name", host)
	}
	if strings.Contains(err.Error(), "mismatch") { // oras compares lengths and digests of headers
		return mismatchf("%s: registry %s contradicts itself: %w", s.name, host, err)
	}
	return api.Errorf(api.KindNetwork, "registry %s did not answer for %s: %w", host, s.name, err).
		WithHint("check the network and the proxy settings, then pull again")
}

// readVerified reads a document of known size and digest.
func readVerified(name string, r io.Reader, d Descriptor) ([]byte, error) {
	var buf bytes.Buffer
	if _, err := io.Copy(&buf, io.LimitReader(r, d.Size+1)); err != nil {
		return nil, api.Errorf(api.KindNetwork, "%s: reading %s: %w", name, d.Digest, err)
	}
	sum := sha256.Sum256(buf.Bytes())
	if got := "sha256:" + hex.EncodeToString(sum[:]); got != d.Digest || int64(buf.Len()) != d.Size {
		return nil, mismatchf("%s: expected %s of %d bytes, got %s of %s", name, d.Digest, d.Size, got, atLeast(buf.Len(), d.Size))
	}
	return buf.Bytes(), nil
}

func atLeast(n int, limit int64) string {
	if int64(n) > limit {
		return fmt.Sprintf("more than %d bytes", limit)
	}
	return fmt.Sprintf("%d bytes", n)
}
