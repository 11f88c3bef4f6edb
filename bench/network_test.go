package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// runNetwork is the program behind make bench-network.
func runNetwork(ctx context.Context) error {
	machine := describeMachine()
	var table strings.Builder
	if err := hold(ctx, &table, []maker{{"traffic", trafficContest}, {"networked", networkedContest}}); err != nil {
		return err
	}
	if *onlyFlag == "" {
		return publish(*docFlag, [2]string{"network", machine + "\n" + table.String()})
	}
	return publish("", [2]string{"network", table.String()})
}

// Contenders of the contests of networks.
const (
	byUplink    = "a sandbox of pyro, `--network-policy`"
	bySlirp     = "`runsc --network=sandbox` over `slirp4netns`"
	slirpAlone  = "a plain process over `slirp4netns`"
	slirpHost   = "10.0.2.2"    // the host's loopback, to who is behind slirp4netns
	gatewayHost = "10.213.77.1" // the same, to a sandbox of pyro
)

// trafficContest: bytes from and to a server on the host's loopback.
func trafficContest(ctx context.Context) (*contest, error) {
	c := &contest{rounds: 5}
	server, err := serveLoads()
	if err != nil {
		return nil, err
	}
	ours, err := newNetworked(ctx, server)
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	c.end = func() error { return errors.Join(ours.delete(), server.Close()) }
	slirped, container, why := newSlirped(ctx)
	if why == nil {
		end := c.end
		c.end = func() error { return errors.Join(container.delete(), slirped.end(), end()) }
	}
	inContainer := func(ctx context.Context, script ...string) error {
		return container.runsc.run(ctx, append([]string{"exec", container.id}, script...)...)
	}
	inNamespace := func(ctx context.Context, script ...string) error {
		return theLab.command(ctx, nil, nil, slirped.enter(script...)...)
	}
	inOurs := func(ctx context.Context, script ...string) error {
		return ours.do(ctx, "exec", append([]string{"--timeout-seconds", "300", "--"}, script...)...)
	}
	c.contenders = []contender{
		{name: byUplink, ours: true, once: server.measure(inOurs, gatewayHost)},
		{name: bySlirp, once: server.measure(inContainer, slirpHost)},
		{name: slirpAlone, once: server.measure(inNamespace, slirpHost)},
	}
	if why != nil {
		c.contenders[1].missing, c.contenders[2].missing = why.Error(), why.Error()
	}
	for _, load := range loads {
		for i, other := range []string{bySlirp, slirpAlone} {
			r := row{what: load.what, figure: load.name, pyro: byUplink, other: other, unit: load.unit}
			if i == 0 {
				r.target.ratio = 1
			}
			c.rows = append(c.rows, r)
		}
	}
	return c, nil
}

// newNetworked is a workspace that may talk to the server and to nobody else.
func newNetworked(ctx context.Context, s *loadServer) (*workspace, error) {
	p, err := workspaceCLI()
	if err != nil {
		return nil, err
	}
	dir, err := theLab.folder("policies")
	if err != nil {
		return nil, err
	}
	policy := filepath.Join(dir, "policy.json")
	if err := os.WriteFile(policy, s.policyText(), 0o644); err != nil {
		return nil, err
	}
	return p.createWorkspace(ctx, workspaceEnvironment, "--network-policy", policy)
}

// newSlirped is a namespace with slirp4netns, and a container of raw runsc in it.
func newSlirped(ctx context.Context) (*slirp, *container, error) {
	s, err := newSlirp(ctx)
	if err != nil {
		return nil, nil, err
	}
	r, err := workspaceRunsc()
	if err != nil {
		return nil, nil, errors.Join(err, s.end())
	}
	inside := &container{r, r.newID()}
	if err := s.startContainer(ctx, inside); err != nil {
		return nil, nil, errors.Join(err, inside.delete(), s.end())
	}
	// runsc has taken the namespace's addresses for itself: the plain process
	// gets a namespace of its own.
	plain, err := newSlirp(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, inside.delete(), s.end())
	}
	plain.before = s
	return plain, inside, nil
}

// networkedContest: what a network costs a command that does not use it.
func networkedContest(context.Context) (*contest, error) {
	p, err := workspaceCLI()
	if err != nil {
		return nil, err
	}
	r, err := workspaceRunsc()
	if err != nil {
		return nil, err
	}
	const (
		ours    = "`pyro run --network`"
		without = "`pyro run`"
		other   = "`slirp4netns`, then `runsc --network=sandbox run`"
		what    = "make a sandbox with a network, run `true` in it, remove it"
	)
	run := func(flags ...string) func(context.Context) (figures, error) {
		return func(ctx context.Context) (figures, error) {
			args := append(append([]string{"run", workspaceEnvironment}, flags...), "--", "true")
			return timed(func() error { return p.run(ctx, args...) })
		}
	}
	return &contest{
		rounds: 15,
		contenders: []contender{
			{name: ours, ours: true, once: run("--network")},
			{name: without, ours: true, once: run()},
			{name: other, once: func(ctx context.Context) (figures, error) {
				return timed(func() error {
					s, err := newSlirp(ctx)
					if err != nil {
						return err
					}
					bundle, err := s.bundle(r, "true")
					if err == nil {
						err = theLab.command(ctx, nil, nil, r.sandboxed("run", "--bundle="+bundle, r.newID())...)
					}
					return errors.Join(err, s.end())
				})
			}},
		},
		rows: []row{
			{what: what, pyro: ours, other: other, unit: duration, target: target{ratio: 1}},
			{what: "the same", pyro: ours, other: without, unit: duration},
		},
	}, nil
}
