package sandbox

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/network/link"
	"pyro/internal/network/policy"
	"pyro/internal/runtime"
)

// ReadPolicy returns the policy that a request asks for, nil for no network.
// which is "egress", "allowlist", the path of a policy file, or "".
func ReadPolicy(network bool, which string) (*policy.Policy, error) {
	switch which {
	case "":
		if !network {
			return nil, nil
		}
		return policy.Egress(), nil
	case policy.BaseEgress:
		return policy.Egress(), nil
	case policy.BaseAllowlist:
		return policy.Allowlist(), nil
	}
	data, err := readPolicyFile(which)
	if err != nil {
		return nil, err
	}
	p, err := policy.Parse(data)
	if err != nil {
		e := api.AsError(err)
		return nil, &api.Error{Kind: e.Kind, Message: "network policy " + which + ": " + strings.TrimPrefix(e.Message, "network policy: "), Hint: e.Hint, Err: err}
	}
	if p.Base() == policy.BaseOff {
		return nil, nil
	}
	return p, nil
}

func readPolicyFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a fifo would keep the call for ever
	if err != nil {
		e := api.Errorf(api.KindUsage, "network policy %s: %w", path, err)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, e.WithHint("give egress, allowlist, or the path of a policy file")
		}
		return nil, e
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, api.Errorf(api.KindUsage, "network policy %s is not a file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, policy.MaxSize+1))
	if err != nil {
		return nil, api.Errorf(api.KindUsage, "network policy %s: %w", path, err)
	}
	return data, nil
}

// CheckNetwork refuses a network that a runtime cannot give. One that does not
// isolate uses the host's, and so keeps to no policy.
func CheckNetwork(driver runtime.Driver, p *policy.Policy, which string) error {
	switch f := driver.Features(); {
	case p == nil, f.Network, !f.Isolated && which == "":
		return nil
	case !f.Isolated:
		return api.Errorf(api.KindUnsupported, "commands on the host itself cannot be held to a network policy").
			WithHint("leave out --network-policy, or --allow-host-compat")
	}
	return api.Errorf(api.KindUnsupported, "runtime %s has no outbound network in this version", driver.Name()).
		WithHint("run with --runtime gvisor, or without --network")
}

// StorePolicy is the text of a policy for a record; that of nil is empty.
func StorePolicy(p *policy.Policy) (string, error) {
	if p == nil {
		return "", nil
	}
	b, err := json.Marshal(p)
	return string(b), err
}

// StoredPolicy reads what StorePolicy wrote. What cannot be read, as that of a
// newer version, lets nothing through but is logged.
func StoredPolicy(text string) *policy.Policy {
	if text == "" {
		return nil
	}
	p, err := policy.Parse([]byte(text))
	if err != nil {
		return policy.Allowlist()
	}
	return p
}

// DescribeNetwork tells of a network as users see it. p is nil without one; the
// machine is nil unless it runs.
func DescribeNetwork(p *policy.Policy, machine runtime.Machine) api.NetworkInfo {
	if p == nil {
		return api.NetworkInfo{Detail: "the loopback interface only; create it with --network for more"}
	}
	info := api.NetworkInfo{
		Enabled: true, Policy: p.Base(), Gateway: link.Gateway4.Addr().String(),
		Addresses: []string{link.Guest4.Addr().String(), link.Guest6.Addr().String()},
	}
	for _, r := range p.Rules() {
		if b, err := json.Marshal(r); err == nil { // it has nothing that cannot be marshaled
			info.Rules = append(info.Rules, string(b))
		}
	}
	if n, ok := machine.(runtime.Networked); ok {
		info.State = "down"
		if n.NetworkUp() {
			info.State = "up"
		}
	}
	switch {
	case p.Base() == policy.BaseEgress && len(info.Rules) == 0:
		info.Detail = "the internet, without the host's own addresses and private networks"
	case p.Base() == policy.BaseEgress:
		info.Detail = "the internet, without the host's own addresses and private networks, and what is named by: " + strings.Join(info.Rules, "; ")
	case len(info.Rules) == 0:
		info.Detail = "nothing is let through; what is tried is logged"
	default:
		info.Detail = "nothing but what is named by: " + strings.Join(info.Rules, "; ")
	}
	return info
}
