package workspace

import (
	"cmp"
	"context"

	"pyro/api"
	"pyro/internal/network/policy"
	"pyro/internal/network/refusals"
	"pyro/internal/network/uplink"
	"pyro/internal/sandbox"
)

// policy returns the workspace's network policy.
func (in *instance) policy() *policy.Policy {
	in.mu.Lock()
	defer in.mu.Unlock()
	return cmp.Or(sandbox.StoredPolicy(in.row.NetworkPolicy), policy.Off())
}

// policyBase is the kind of the policy, "" without one. The caller holds mu.
func (in *instance) policyBase() string {
	if p := sandbox.StoredPolicy(in.row.NetworkPolicy); p != nil {
		return p.Base()
	}
	return ""
}

// LogNetwork returns what the workspace's policy refused.
func (m *Manager) LogNetwork(_ context.Context, req api.NetworkLogRequest) (api.NetworkLog, error) {
	in, events, leave, err := m.refused(req.WorkspaceID)
	if err != nil {
		return api.NetworkLog{}, err
	}
	defer leave()
	return api.NetworkLog{WorkspaceID: in.id, Policy: in.policy().Base(), Refused: in.publicRefusals(events)}, nil
}

// SuggestNetwork makes a policy of it.
func (m *Manager) SuggestNetwork(_ context.Context, req api.SuggestNetworkRequest) (api.SuggestedPolicy, error) {
	in, events, leave, err := m.refused(req.WorkspaceID)
	if err != nil {
		return api.SuggestedPolicy{}, err
	}
	defer leave()
	current := in.policy()
	if current.Base() == policy.BaseOff {
		current = policy.Allowlist()
	}
	s := refusals.Suggest(current.WithHost(uplink.HostAddresses()), events, req.Private)
	return api.SuggestedPolicy{WorkspaceID: in.id, Policy: in.text(string(s.Policy.Text())), Left: in.publicRefusals(s.Left)}, nil
}

func (m *Manager) refused(id string) (in *instance, events []refusals.Event, leave func(), err error) {
	if in, leave, err = m.enter(id); err != nil {
		return nil, nil, nil, err
	}
	if events, err = refusals.Read(in.dir); err != nil {
		leave()
		return nil, nil, nil, err
	}
	return in, events, leave, nil
}

func (in *instance) publicRefusals(events []refusals.Event) []api.RefusedConnection {
	list := make([]api.RefusedConnection, 0, len(events))
	for _, e := range events {
		r := api.RefusedConnection{
			Protocol: e.Protocol, Name: in.text(e.Name), Record: e.Record, Port: int(e.Port), Reason: in.text(e.Reason), Rule: in.text(e.Rule),
			First: e.First, Last: e.Last, Count: e.Count,
		}
		if e.Address.IsValid() {
			r.Address = e.Address.String()
		}
		list = append(list, r)
	}
	return list
}
