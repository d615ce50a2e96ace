package hub

import (
	"context"
	"sync"
	"time"
)

// presence holds the leases of the clients that are connected here. Whatever
// changes is told to the store by one goroutine, in batches, so that no
// connection and no delivery waits for it.
type presence struct {
	hub  *Hub          // set once
	wake chan struct{} // set once; something is in changed

	mu sync.Mutex // after a Subscriber's mu
	// guarded by mu
	held    map[presenceKey]*presenceHold
	changed map[presenceKey]struct{}
}

type presenceKey struct{ room, client string }

type presenceHold struct {
	from  string
	refs  int       // connections and waiting polls
	until time.Time // how long it lasts after the last of them
}

func newPresence(h *Hub) *presence {
	return &presence{
		hub: h, wake: make(chan struct{}, 1),
		held: make(map[presenceKey]*presenceHold), changed: make(map[presenceKey]struct{}),
	}
}

func (p *presence) join(room, client, from string) {
	key := presenceKey{room, client}
	p.mu.Lock()
	defer p.mu.Unlock()
	hold := p.held[key]
	if hold == nil {
		hold = &presenceHold{from: from}
		p.held[key] = hold
	}
	hold.refs++
	if hold.refs == 1 {
		p.changeLocked(key)
	}
}

// leave ends one connection's hold; when it was the last, the client has left
// after grace, unless it comes back.
func (p *presence) leave(room, client string, grace time.Duration) {
	key := presenceKey{room, client}
	p.mu.Lock()
	defer p.mu.Unlock()
	hold := p.held[key]
	if hold == nil {
		return
	}
	hold.refs--
	if until := time.Now().Add(grace); until.After(hold.until) {
		hold.until = until
	}
	if hold.refs == 0 {
		p.changeLocked(key)
	}
}

func (p *presence) changeLocked(key presenceKey) {
	p.changed[key] = struct{}{}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// leaseBatch is how many leases one call of the store renews.
const leaseBatch = 100

func (p *presence) run() {
	interval := p.hub.o.PresenceTTL / 3
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-p.hub.ctx.Done():
			p.releaseAll()
			return
		case <-p.wake:
			p.renew(p.leases(false))
		case <-t.C:
			p.renew(p.leases(true))
			p.sweep()
		}
	}
}

// leases are those that the store has to hear of: the changed ones, or all.
func (p *presence) leases(all bool) []Lease {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	var leases []Lease
	lease := func(key presenceKey, hold *presenceHold) {
		ttl := p.hub.o.PresenceTTL
		if hold.refs == 0 {
			ttl = hold.until.Sub(now)
		}
		if ttl > 0 {
			leases = append(leases, Lease{Room: key.room, Client: key.client, Holder: p.hub.o.NodeID, From: hold.from, TTL: ttl})
		}
	}
	if !all {
		for key := range p.changed {
			if hold := p.held[key]; hold != nil {
				lease(key, hold)
			}
		}
		clear(p.changed)
		return leases
	}
	for key, hold := range p.held {
		switch {
		case hold.refs > 0:
			lease(key, hold)
		case !now.Before(hold.until):
			delete(p.held, key) // the store has let it expire
		}
	}
	return leases
}

func (p *presence) renew(leases []Lease) {
	for len(leases) > 0 {
		n := min(len(leases), leaseBatch)
		ctx, cancel := context.WithTimeout(p.hub.ctx, p.hub.o.StoreTimeout)
		err := p.hub.store.Renew(ctx, leases[:n])
		cancel()
		if err != nil {
			p.hub.stats.presenceFailed.Add(1)
			if p.hub.ctx.Err() == nil {
				p.hub.o.Logger.Warn("presence leases not renewed", "leases", len(leases), "err", err)
			}
			return // the next turn renews them all
		}
		leases = leases[n:]
	}
}

// sweep has the store notice expired leases in rooms whose readers want to hear
// of them.
func (p *presence) sweep() {
	h := p.hub
	var rooms []string
	for _, r := range h.openRooms() {
		r.mu.Lock()
		if r.presence > 0 {
			rooms = append(rooms, r.name)
		}
		r.mu.Unlock()
	}
	for _, room := range rooms {
		ctx, cancel := context.WithTimeout(h.ctx, h.o.StoreTimeout)
		_, err := h.store.Present(ctx, room, 0)
		cancel()
		if err != nil {
			return
		}
	}
}

// releaseAll ends what this node holds, so that its clients have left when it
// has and not only when their leases expire.
func (p *presence) releaseAll() {
	p.mu.Lock()
	leases := make([]Lease, 0, len(p.held))
	for key, hold := range p.held {
		leases = append(leases, Lease{Room: key.room, Client: key.client, Holder: p.hub.o.NodeID, From: hold.from})
	}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), p.hub.o.EndTimeout)
	defer cancel()
	for len(leases) > 0 {
		n := min(len(leases), leaseBatch)
		if p.hub.store.Release(ctx, leases[:n]) != nil {
			return
		}
		leases = leases[n:]
	}
}
