package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// lookup asks the cache, then the host. Queries for the same at the same time
// share one look-up, which goes on when the one that began it goes away.
func (s *Server) lookup(ctx context.Context, q Question) (Answer, error) {
	if a, ok := s.cache.get(q, time.Now()); ok {
		return a, nil
	}
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return Answer{}, errors.New("too many look-ups at the same time")
	}
	flight := s.flights.DoChan(q.Name+" "+q.Type.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTime)
		defer cancel()
		return s.ask(ctx, q)
	})
	select {
	case <-ctx.Done():
		return Answer{}, context.Cause(ctx)
	case r := <-flight:
		a, _ := r.Val.(Answer)
		return a, r.Err
	}
}

func (s *Server) ask(ctx context.Context, q Question) (Answer, error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return Answer{}, errors.New("too many look-ups at the same time")
	}
	a, err := s.Resolver.Lookup(ctx, q)
	if err != nil {
		return Answer{}, err
	}
	if a.RCode != dnsmessage.RCodeSuccess && a.RCode != dnsmessage.RCodeNameError {
		return Answer{}, fmt.Errorf("the host's resolver answered %s", strings.TrimPrefix(a.RCode.String(), "RCode"))
	}
	if worthKeeping(a) {
		s.cache.put(q, a, time.Now())
	}
	return a, nil
}

// Bounds of the cache. An answer without records is forgotten soon: a name that
// does not exist yet is one that somebody waits for.
const (
	cacheSize   = 2048
	negativeTTL = 5 * time.Second
)

// worthKeeping bounds what one answer takes in the cache: texts are looked up
// again.
func worthKeeping(a Answer) bool {
	return len(a.Records) <= 32 && !slices.ContainsFunc(a.Records, func(r dnsmessage.Resource) bool {
		_, isAddress := address(r)
		return !isAddress && r.Header.Type != dnsmessage.TypeCNAME
	})
}

// cache keeps answers of the host. The zero value is empty.
type cache struct {
	mu      sync.Mutex
	answers map[Question]cached
}

type cached struct {
	answer       Answer
	from, expire time.Time
}

// get returns an answer with the times to live that are left.
func (c *cache) get(q Question, now time.Time) (Answer, bool) {
	c.mu.Lock()
	found, ok := c.answers[q]
	c.mu.Unlock()
	if !ok || !now.Before(found.expire) {
		return Answer{}, false
	}
	a := found.answer
	a.Records = make([]dnsmessage.Resource, len(found.answer.Records))
	age := uint32(now.Sub(found.from) / time.Second)
	for i, record := range found.answer.Records {
		record.Header.TTL -= min(age, record.Header.TTL)
		a.Records[i] = record
	}
	return a, true
}

func (c *cache) put(q Question, a Answer, now time.Time) {
	life := negativeTTL
	if len(a.Records) > 0 {
		ttl := uint32(maxTTL)
		for _, record := range a.Records {
			ttl = min(ttl, record.Header.TTL)
		}
		life = time.Duration(max(ttl, minTTL)) * time.Second
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answers == nil || len(c.answers) >= cacheSize {
		c.shrink(now)
	}
	c.answers[q] = cached{a, now, now.Add(life)}
}

// shrink forgets what is too old, or all if everything is young: who fills the
// cache that fast gains nothing from it.
func (c *cache) shrink(now time.Time) {
	for q, found := range c.answers {
		if !now.Before(found.expire) {
			delete(c.answers, q)
		}
	}
	if c.answers == nil || len(c.answers) > cacheSize*3/4 {
		c.answers = map[Question]cached{}
	}
}
