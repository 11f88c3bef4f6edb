// Command netclient is what TestNetworkPolicy runs in a sandbox: it tries one
// thing on the network and says in one line what came of it.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

func main() {
	said, err := try(os.Args[1], os.Args[2:])
	if err != nil {
		said = "failed: " + err.Error()
	}
	fmt.Println(strings.ReplaceAll(said, "\n", " "))
}

const patience = 20 * time.Second

func try(what string, args []string) (string, error) {
	switch what {
	case "get": // URL [HOST [ADDRESS]]: the name to ask for, the address to connect to
		return get(args)
	case "tcp", "udp":
		return talk(what, args[0])
	case "download": // URL: the hash of what comes
		return download(args[0])
	case "upload": // URL BYTES: the hash of what went, and the server's word
		return upload(args[0], args[1])
	case "gather": // URL N: so many requests at once, each answered when all are there
		return gather(args[0], args[1])
	case "stall": // URL N: so many answers of which nothing is read, until stdin ends
		return stall(args[0], args[1])
	case "lookup": // NAME TYPE [NETWORK SERVER]
		return lookup(args)
	}
	return "", fmt.Errorf("%s is not known", what)
}

func get(args []string) (string, error) {
	pool := x509.NewCertPool()
	if pem, err := os.ReadFile("/workspace/ca.pem"); err == nil {
		pool.AppendCertsFromPEM(pem)
	}
	config := &tls.Config{RootCAs: pool}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	request, err := http.NewRequest(http.MethodGet, args[0], nil)
	if err != nil {
		return "", err
	}
	if len(args) > 1 {
		request.Host, config.ServerName = args[1], args[1]
	}
	if len(args) > 2 {
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, args[2])
		}
	}
	client := http.Client{Transport: transport, Timeout: patience}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return fmt.Sprintf("%d %s", answer.StatusCode, body), err
}

func talk(network, address string) (string, error) {
	conn, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte("hello\n")); err != nil {
		return "", err
	}
	b := make([]byte, 100)
	n, err := conn.Read(b)
	return string(b[:n]), err
}

func download(url string) (string, error) {
	answer, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, answer.Body)
	return fmt.Sprintf("%d %x", n, sum.Sum(nil)), err
}

func upload(url, size string) (string, error) {
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	body := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{7}), n), sum)
	answer, err := http.Post(url, "application/octet-stream", body)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	return fmt.Sprintf("%x %s", sum.Sum(nil), said), err
}

// all runs f so many times at once and counts the successes.
func all(count string, f func() error) (string, error) {
	n, err := strconv.Atoi(count)
	if err != nil {
		return "", err
	}
	var group sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		group.Go(func() { errs[i] = f() })
	}
	group.Wait()
	good := 0
	for _, e := range errs {
		if e == nil {
			good++
		} else {
			err = e
		}
	}
	return fmt.Sprintf("%d of %d", good, n), err
}

func gather(url, count string) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return all(count, func() error {
		answer, err := client.Get(url)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	})
}

func stall(url, count string) (string, error) {
	said, err := all(count, func() error {
		_, err := http.Get(url) //nolint:bodyclose // it is never read, which is the point
		return err
	})
	fmt.Println(said)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return "ended", err
}

func lookup(args []string) (string, error) {
	r := &net.Resolver{PreferGo: true}
	if len(args) > 2 {
		r.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, args[2], args[3])
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch args[1] {
	case "TXT":
		texts, err := r.LookupTXT(ctx, args[0])
		return strings.Join(texts, " "), err
	case "AAAA":
		addrs, err := r.LookupNetIP(ctx, "ip6", args[0])
		return fmt.Sprint(addrs), err
	}
	addrs, err := r.LookupNetIP(ctx, "ip4", args[0])
	return fmt.Sprint(addrs), err
}
