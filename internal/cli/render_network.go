package cli

import (
	"fmt"
	"io"
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
