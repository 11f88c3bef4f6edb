package bench

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// contest has contenders do the same thing in rounds.
type contest struct {
	title      string // named in messages; without one there are none
	rounds     int
	contenders []contender
	rows       []row
	// end clears away what the contenders share; nil if that is nothing.
	end func() error
}

// contender is one way to do what a contest is about.
type contender struct {
	name  string
	label string // what the table calls it; default: name
	// ours marks a part of pyro: its failure is an error, not a reason.
	ours bool
	// once does it and returns its figures, usually took(start). What has to be
	// made before and cleared away after does not count.
	once func(ctx context.Context) (figures, error)
	// missing says why this contender cannot compete here; "" if it can.
	missing string
}

// figures are what one round of a contender gave, by name. That of contests
// with a single figure is "".
type figures map[string]float64

// took is the time since start, in seconds.
func took(start time.Time) figures { return figures{"": time.Since(start).Seconds()} }

// series is where a figure's rounds are found.
type series struct{ contender, figure string }

type results map[series][]float64

// run holds the rounds. Another contender than pyro that fails in the warm-up
// is left out and its error is the reason; any other failure is an error.
func (c *contest) run(ctx context.Context) (results, error) {
	got := results{}
	for round := range c.rounds + 1 {
		if c.title != "" {
			fmt.Fprintf(os.Stderr, "bench: %s, round %d of %d\n", c.title, round, c.rounds)
		}
		for i := range c.contenders {
			p := &c.contenders[i]
			if p.missing != "" {
				continue
			}
			values, err := p.once(ctx)
			switch {
			case ctx.Err() != nil:
				return nil, context.Cause(ctx)
			case err != nil && round == 0 && !p.ours:
				p.missing = err.Error()
			case err != nil:
				return nil, fmt.Errorf("%s: %s: %w", c.title, p.name, err)
			case round > 0:
				for name, v := range values {
					s := series{p.name, name}
					got[s] = append(got[s], v)
				}
			}
		}
	}
	return got, nil
}

// contender finds one by its name.
func (c *contest) contender(name string) contender {
	i := slices.IndexFunc(c.contenders, func(p contender) bool { return p.name == name })
	if i < 0 {
		panic("a row names the contender " + name + ", which there is not")
	}
	return c.contenders[i]
}

// quantile is the value below which the share q of the values lies,
// interpolated between neighbours.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

func median(values []float64) float64 { return quantile(values, 0.5) }
