package cli

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"pyro/api"
)

// networkText says whether there is a network, and by which policy.
func networkText(enabled bool, policy string) string {
	if enabled && policy != "" {
		return yes(enabled) + " (" + policy + ")"
	}
	return yes(enabled)
}

func renderNetwork(w io.Writer, n *api.NetworkInfo) {
	fmt.Fprintf(w, "VM: %s\nNetwork: %s\n", n.VMID, networkText(n.Enabled, n.Policy))
	if n.State != "" {
		field(w, "State", n.State)
	}
	if len(n.Addresses) > 0 {
		field(w, "Addresses", strings.Join(n.Addresses, ", "))
		field(w, "Gateway and name server", n.Gateway)
	}
	for _, rule := range n.Rules {
		field(w, "Rule", rule)
	}
	field(w, "Detail", n.Detail)
}

func renderNetworkLog(w io.Writer, l *api.NetworkLog) {
	if len(l.Refused) == 0 {
		fmt.Fprintln(w, "Nothing was refused.")
		return
	}
	for _, r := range l.Refused {
		fmt.Fprintln(w, refusedText(r))
	}
}

// refusedText is one line: when last, how often, what, why.
func refusedText(r api.RefusedConnection) string {
	what := []string{r.Protocol}
	if r.Record != "" {
		what = append(what, r.Record)
	}
	if r.Name != "" {
		what = append(what, r.Name)
	}
	switch {
	case r.Address != "" && r.Port != 0:
		what = append(what, net.JoinHostPort(r.Address, strconv.Itoa(r.Port)))
	case r.Address != "":
		what = append(what, r.Address)
	}
	return fmt.Sprintf("%s  %dx  %s  refused: %s", stamp(r.Last), r.Count, strings.Join(what, " "), r.Reason)
}

// renderSuggestion writes the policy to stdout as it is, and what it leaves to
// stderr.
func (a *app) renderSuggestion(s *api.SuggestedPolicy) error {
	if _, err := io.WriteString(a.Stdout, s.Policy); err != nil {
		return outputError(err)
	}
	for _, r := range s.Left {
		fmt.Fprintln(a.Stderr, "warning: it would still refuse:", refusedText(r))
	}
	return nil
}
