package debian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"pyro/api"
)

// Fetcher gets files over HTTP and tries again where that helps. The zero value
// is ready to use.
type Fetcher struct {
	Client *http.Client // nil for one that uses the proxies of the environment
	// Attempts is how many times in a row a transfer may fail without having
	// brought one new byte. 0 means 3.
	Attempts int
	// Backoff is the pause after the first failure; it doubles with every
	// further one. 0 means half a second.
	Backoff time.Duration
	// Stall is how long a server may be silent in a transfer. 0 means a minute.
	Stall time.Duration
}

// maxTries bounds the attempts for one file even if each brings a little.
const maxTries = 100

// defaultClient reuses connections well for many files of one mirror. It asks
// for no compression, which would make Range and sizes meaningless.
var defaultClient = &http.Client{Transport: &http.Transport{
	Proxy:                 http.ProxyFromEnvironment,
	DialContext:           (&net.Dialer{Timeout: 20 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
	TLSHandshakeTimeout:   20 * time.Second,
	ResponseHeaderTimeout: time.Minute,
	MaxIdleConnsPerHost:   16,
	IdleConnTimeout:       time.Minute,
	ForceAttemptHTTP2:     true,
	DisableCompression:    true,
}}

// errStalled ends a transfer in which nothing arrived for too long.
var errStalled = errors.New("the server stopped sending")

// statusError is an answer that has no use.
type statusError struct {
	code   int
	status string
}

func (e *statusError) Error() string { return "the server answered " + e.status }

// transient says that trying again may help.
func (e *statusError) transient() bool {
	return e.code >= 500 || e.code == http.StatusRequestTimeout || e.code == http.StatusTooManyRequests
}

// Bytes returns what url holds. More than limit bytes are an error.
func (f *Fetcher) Bytes(ctx context.Context, url string, limit int64) ([]byte, error) {
	var body []byte
	err := f.retry(ctx, url, func() (bool, error) {
		body = nil
		return false, f.get(ctx, url, 0, func(resp *http.Response, r io.Reader) (err error) {
			if resp.StatusCode != http.StatusOK {
				return &statusError{resp.StatusCode, resp.Status}
			}
			if body, err = io.ReadAll(io.LimitReader(r, limit+1)); err == nil && int64(len(body)) > limit {
				err = api.Errorf(api.KindVerification, "%s is larger than %d bytes", url, limit).WithHint("try another mirror")
			}
			return err
		})
	})
	return body, err
}

// retry calls try until it succeeds, fails for good, or fails too often without
// progress. It turns what is left over into an error for people.
func (f *Fetcher) retry(ctx context.Context, url string, try func() (progress bool, err error)) error {
	attempts, pause := f.Attempts, f.Backoff
	if attempts == 0 {
		attempts = 3
	}
	if pause == 0 {
		pause = 500 * time.Millisecond
	}
	failures := 0
	for tries := 1; ; tries++ {
		progress, err := try()
		if err == nil {
			return nil
		}
		if progress {
			failures = 0
		}
		failures++
		if !retryable(ctx, err) || failures >= attempts || tries >= maxTries {
			return networkError(ctx, url, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause << (failures - 1)):
		}
	}
}

// retryable tells failures of the network from those that will not go away.
func retryable(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.transient()
	}
	_, known := errors.AsType[*api.Error](err)
	return !known
}

func networkError(ctx context.Context, url string, err error) error {
	if ctx.Err() != nil {
		return api.Errorf(api.KindCanceled, "fetching %s was canceled: %w", url, context.Cause(ctx))
	}
	if _, ok := errors.AsType[*api.Error](err); ok {
		return err
	}
	return api.Errorf(api.KindNetwork, "%s cannot be fetched: %w", url, err).
		WithHint("check the network (curl -I %s) or use another mirror", url)
}

// get sends one request, for the bytes from offset on if that is not 0, and
// calls use with the answer and its body. The body fails when it stalls.
func (f *Fetcher) get(ctx context.Context, url string, offset int64, use func(*http.Response, io.Reader) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return api.Errorf(api.KindUsage, "%q is no URL to fetch from", clip(url))
	}
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "pyro")
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	client := f.Client
	if client == nil {
		client = defaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	stall := f.Stall
	if stall == 0 {
		stall = time.Minute
	}
	timer := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer timer.Stop()
	return use(resp, &stallReader{ctx, resp.Body, timer, stall})
}

// stallReader puts the timer off whenever something arrives.
type stallReader struct {
	ctx   context.Context
	r     io.Reader
	timer *time.Timer
	stall time.Duration
}

func (s *stallReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if n > 0 {
		s.timer.Reset(s.stall)
	}
	if err != nil && err != io.EOF && errors.Is(context.Cause(s.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}
