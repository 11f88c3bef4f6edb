package oci

import (
	"net/netip"
	"regexp"
	"strings"

	"pyro/api"
)

// Reference names an image in a registry. Its String is canonical: two ways to
// write the same image give the same string.
type Reference struct {
	Registry   string // host or host:port; "docker.io" when none was written
	Repository string // path below the registry; "library/NAME" for a bare Docker Hub name
	Tag        string // "" when Digest is set
	Digest     string // "sha256:HEX" or ""
}

const (
	dockerHub       = "docker.io"
	maxReferenceLen = 512
)

// The grammar of the distribution specification (and, for hosts, of Docker's
// reference parser).
var (
	hostPattern       = regexp.MustCompile(`^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?$`)
	repositoryPattern = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagPattern        = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	digestPattern     = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// ParseReference reads [docker://|oci://][HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]
// as docker does: without a host it means Docker Hub, without a tag or digest
// "latest"; a digest makes the tag irrelevant.
func ParseReference(text string) (Reference, error) {
	bad := func(what string) (Reference, error) {
		shown := text
		if len(shown) > 100 {
			shown = shown[:100] + "..."
		}
		return Reference{}, api.Errorf(api.KindUsage, "image reference %q: %s", shown, what).
			WithHint("write it as docker://HOST/REPOSITORY:TAG or docker://HOST/REPOSITORY@sha256:DIGEST")
	}
	if len(text) > maxReferenceLen {
		return bad("too long")
	}
	rest := trimScheme(text)
	var ref Reference
	rest, digest, hasDigest := strings.Cut(rest, "@")
	if hasDigest {
		if !digestPattern.MatchString(digest) {
			return bad("the digest must be sha256: and 64 hexadecimal digits")
		}
		ref.Digest = digest
	}
	if first, path, ok := strings.Cut(rest, "/"); ok && isHost(first) {
		ref.Registry, rest = first, path
	} else {
		ref.Registry = dockerHub
	}
	rest, tag, hasTag := strings.Cut(rest, ":")
	switch {
	case hasTag && !tagPattern.MatchString(tag):
		return bad("the tag may hold letters, digits, '_', '.' and '-'")
	case ref.Digest != "":
	case hasTag:
		ref.Tag = tag
	default:
		ref.Tag = "latest"
	}
	ref.Registry = strings.ToLower(ref.Registry)
	if ref.Registry == "index.docker.io" {
		ref.Registry = dockerHub
	}
	if ref.Registry == dockerHub && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	ref.Repository = rest
	if !hostPattern.MatchString(ref.Registry) {
		return bad("the registry is not a host name")
	}
	if len(rest) > 255 || !repositoryPattern.MatchString(rest) {
		return bad("the repository may hold lower-case letters, digits, '.', '_', '-' and '/'")
	}
	return ref, nil
}

// HasScheme reports whether text is marked as an image reference.
func HasScheme(text string) bool { return trimScheme(text) != text }

func trimScheme(text string) string {
	for _, scheme := range []string{"docker://", "oci://"} {
		if rest, ok := strings.CutPrefix(text, scheme); ok {
			return rest
		}
	}
	return text
}

// isHost tells a host from the first part of a repository.
func isHost(part string) bool {
	return strings.EqualFold(part, "localhost") || strings.ContainsAny(part, ".:[")
}

func (r Reference) String() string {
	s := r.Registry + "/" + r.Repository
	if r.Digest != "" {
		return s + "@" + r.Digest
	}
	return s + ":" + r.Tag
}

// isLoopback reports whether a registry host is this machine. Such registries
// are spoken to in plain HTTP: there is no wire to protect.
func isLoopback(host string) bool {
	var name string
	if strings.HasPrefix(host, "[") {
		name, _, _ = strings.Cut(strings.TrimPrefix(host, "["), "]")
	} else {
		name, _, _ = strings.Cut(host, ":")
	}
	if name == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.IsLoopback()
}
