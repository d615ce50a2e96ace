package memory

import (
	"maps"
	"slices"

	"github.com/culvertd/culvert/hub"
)

// Clone makes a second store that goes on from what this one holds: each room
// as it is at some moment of the call, with its history, keys and leases, but
// without its watchers. It has the same Options. It serves simulations: a copy
// that takes the place of the original after more was published is a failover
// to a replica that lagged behind.
func (s *Store) Clone() (*Store, error) {
	c := build(s.o)
	// The same hashes, so that rooms and keys are found where they are copied to.
	c.start, c.seed, c.sip0, c.sip1 = s.start, s.seed, s.sip0, s.sip1
	c.lastForgotten.Store(s.lastForgotten.Load())
	for i := range s.shards {
		if !s.shards[i].copyTo(&c.shards[i]) {
			return nil, hub.ErrClosed
		}
	}
	go c.janitor()
	return c, nil
}

// copyTo copies into a shard that nobody else has seen yet.
func (sh *shard) copyTo(to *shard) bool {
	if !sh.lock() {
		return false
	}
	defer sh.mu.Unlock()
	now := sh.now()
	to.latest = now.at
	to.keys = keyTable{
		entries: maps.Clone(sh.keys.entries),
		due:     dueHeap[keyHash]{items: slices.Clone(sh.keys.due.items)},
		peak:    sh.keys.peak,
	}
	to.s.keys.Add(int64(len(to.keys.entries)))
	for name, r := range sh.rooms {
		if r.epoch == "" && r.presence == nil {
			continue // it was only watched
		}
		c := *r
		c.history.buf = slices.Clone(r.history.buf)
		c.watchers, c.timer, c.lruPrev, c.lruNext = nil, -1, nil, nil
		if r.presence != nil {
			c.presence = r.presence.copy()
			to.s.leases.Add(int64(c.presence.leases.len()))
		}
		to.rooms[name] = &c
		to.s.rooms.Add(1)
		to.settle(&c, now)
	}
	for r := sh.lruFirst; r != nil; r = r.lruNext {
		c := to.rooms[r.name]
		to.published(c, to.s.added.Add(int64(c.bytes)))
	}
	return true
}

func (p *presence) copy() *presence {
	c := newPresence()
	for m := p.first; m != nil; m = m.next {
		n := c.join(m.Member)
		for _, l := range m.leases {
			c.hold(n, l.holder, l.expires)
		}
	}
	return c
}
