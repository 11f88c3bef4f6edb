package api

import "time"

// NetworkLogRequest asks for what a workspace's network policy refused.
type NetworkLogRequest struct {
	WorkspaceID string `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id of the workspace"`
}

// RefusedConnection is one thing that a sandbox tried and its policy refused.
type RefusedConnection struct {
	Protocol string    `json:"protocol" doc:"dns for a look-up, tcp, udp or icmp; others stands for those that were too many to keep"`
	Name     string    `json:"name,omitempty" doc:"the name that was looked up, that led to the address, or that the connection asked for"`
	Record   string    `json:"record,omitempty" doc:"of a look-up: the type of the records"`
	Address  string    `json:"address,omitempty" doc:"what was connected to, or what a name led to"`
	Port     int       `json:"port,omitempty" doc:"of tcp and udp"`
	Reason   string    `json:"reason" doc:"why it was refused"`
	Rule     string    `json:"rule,omitempty" doc:"the rule that came nearest"`
	First    time.Time `json:"first" doc:"when it was tried first"`
	Last     time.Time `json:"last" doc:"when it was tried last"`
	Count    int64     `json:"count" doc:"how often"`
}

// NetworkLog answers LogNetwork.
type NetworkLog struct {
	WorkspaceID string              `json:"workspace_id" doc:"id of the workspace"`
	Policy      string              `json:"policy" doc:"off, egress or allowlist"`
	Refused     []RefusedConnection `json:"refused" doc:"what was refused since the workspace was created, each once, the oldest first"`
}

// SuggestNetworkRequest asks for a policy made from what was refused.
type SuggestNetworkRequest struct {
	WorkspaceID string `json:"workspace_id" cli:"WORKSPACE_ID,arg" doc:"id of the workspace"`
	Private     bool   `json:"private,omitempty" cli:"private" doc:"open addresses that are not the internet's too"`
}

// SuggestedPolicy answers SuggestNetwork.
type SuggestedPolicy struct {
	WorkspaceID string              `json:"workspace_id" doc:"id of the workspace"`
	Policy      string              `json:"policy" doc:"the text of a policy file"`
	Left        []RefusedConnection `json:"left,omitempty" doc:"what it would still refuse"`
}

// The operations on a workspace's network.
var (
	LogNetwork = call[NetworkLogRequest, NetworkLog](Operation{
		Name: "log_network", CLI: "workspace network log", Python: "log_network", Group: "Workspaces",
		Summary: "Show what a workspace's network policy refused",
		Doc:     "Each name, address and port once, with the reason and how often it was tried. The log stays over resets and is bounded: of more than a thousand the first and the newest are kept.",
		Effect:  Reads, Errors: []Kind{KindNotFound, KindStorage}, Example: "pyro workspace network log ws-0123456789ab",
	})
	SuggestNetwork = call[SuggestNetworkRequest, SuggestedPolicy](Operation{
		Name: "suggest_network", CLI: "workspace network suggest", Python: "suggest_network", Group: "Workspaces",
		Summary: "Print a network policy that opens what was refused",
		Doc: "Adds to the workspace's policy the rules that would have let through what its log has. All of it was asked for by the sandbox and by nobody else: read it before you use it, " +
			"for another workspace with `--network-policy`.",
		Effect: Reads, Errors: []Kind{KindNotFound, KindStorage}, Example: "pyro workspace network suggest ws-0123456789ab",
	})
)
