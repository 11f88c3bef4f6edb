package pyro_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"
)

// memoryRegistry starts an OCI registry in memory on a loopback port.
func memoryRegistry(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "registry NAME")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	server := &http.Server{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	ts.Defer(func() {
		_ = server.Close()
		<-done
	})
	ts.Setenv(args[0], l.Addr().String())
}

// dockerRegistry starts Debian's docker-registry on a loopback port.
func dockerRegistry(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "docker-registry NAME")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	addr := l.Addr().String()
	l.Close() // the program takes an address, not a socket
	config := fmt.Sprintf("version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: %s\nhttp:\n  addr: %s\n",
		ts.MkAbs("registry-data"), addr)
	path := ts.MkAbs("registry.yml")
	ts.Check(os.WriteFile(path, []byte(config), 0o600))
	cmd := exec.Command(lookPath(ts, "docker-registry"), "serve", path)
	cmd.Env = []string{"HOME=" + ts.MkAbs(".")}
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ts.Setenv(args[0], addr)
}

// ociPush pushes an image whose layers are the given tar files, bottom first,
// and sets $DIGEST.
func ociPush(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2, "oci-push REFERENCE TAR...")
	image := empty.Image
	for _, file := range args[1:] {
		layer, err := tarball.LayerFromFile(ts.MkAbs(file))
		ts.Check(err)
		image, err = mutate.AppendLayers(image, layer)
		ts.Check(err)
	}
	config, err := image.ConfigFile()
	ts.Check(err)
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Env = []string{"FROM_IMAGE=yes"}
	image, err = mutate.ConfigFile(image, config)
	ts.Check(err)
	ts.Check(push(args[0], image))
	digest, err := image.Digest()
	ts.Check(err)
	ts.Setenv("DIGEST", digest.String())
}

// push uploads an image as the OCI distribution specification says,
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push.
func push(reference string, image v1.Image) error {
	host, rest, _ := strings.Cut(reference, "/")
	name, tag, _ := strings.Cut(rest, ":")
	base := "http://" + host + "/v2/" + name
	for range 100 { // a registry that is a process of its own needs a moment
		if _, err := http.Get("http://" + host + "/v2/"); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		digest, err := layer.Digest()
		if err != nil {
			return err
		}
		blob, err := layer.Compressed()
		if err != nil {
			return err
		}
		if err := upload(base, digest.String(), blob); err != nil {
			return err
		}
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return err
	}
	digest, err := image.ConfigName()
	if err != nil {
		return err
	}
	if err := upload(base, digest.String(), bytes.NewReader(config)); err != nil {
		return err
	}
	manifest, err := image.RawManifest()
	if err != nil {
		return err
	}
	mediaType, err := image.MediaType()
	if err != nil {
		return err
	}
	_, err = send(http.MethodPut, base+"/manifests/"+tag, string(mediaType), bytes.NewReader(manifest))
	return err
}

// upload pushes one blob in one piece.
func upload(base, digest string, blob io.Reader) error {
	location, err := send(http.MethodPost, base+"/blobs/uploads/", "", nil)
	if err != nil {
		return err
	}
	query := location.Query()
	query.Set("digest", digest)
	location.RawQuery = query.Encode()
	content, err := io.ReadAll(blob)
	if err != nil {
		return err
	}
	_, err = send(http.MethodPut, location.String(), "application/octet-stream", bytes.NewReader(content))
	return err
}

// send makes a request that must succeed, and returns where it points to.
func send(method, address, mediaType string, body io.Reader) (*url.URL, error) {
	req, err := http.NewRequest(method, address, body)
	if err != nil {
		return nil, err
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(resp.Body)
		return nil, fmt.Errorf("%s %s: %s: %s", method, address, resp.Status, text)
	}
	location, err := resp.Location()
	if errors.Is(err, http.ErrNoLocation) {
		return nil, nil
	}
	return location, err
}

// breakBlobs changes one byte in every blob of the cache that is larger than
// 1 KiB, and fails if there is none.
func breakBlobs(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 0, "break-blobs")
	blobs, err := filepath.Glob(filepath.Join(ts.Getenv("PYRO_CACHE_DIR"), "blobs", "sha256", "*"))
	ts.Check(err)
	broken := 0
	for _, blob := range blobs {
		b, err := os.ReadFile(blob)
		ts.Check(err)
		if len(b) <= 1<<10 {
			continue
		}
		b[len(b)/2] ^= 1
		ts.Check(os.Chmod(blob, 0o600))
		ts.Check(os.WriteFile(blob, b, 0o600))
		broken++
	}
	if broken == 0 {
		ts.Fatalf("no blob to break in %s", ts.Getenv("PYRO_CACHE_DIR"))
	}
}
