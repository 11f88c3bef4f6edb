package workspace

import "pyro/internal/sandbox"

// policyBase is the kind of the workspace's policy. The caller holds mu.
func (in *instance) policyBase() string {
	if p := sandbox.StoredPolicy(in.row.NetworkPolicy); p != nil {
		return p.Base()
	}
	return ""
}
