package memory

import (
	"context"
	"slices"

	"github.com/culvertd/culvert/hub"
)

// presence is who is in a room, guarded by the shard's mu.
type presence struct {
	members     map[string]*member
	first, last *member // in the order of joining
	leases      dueHeap[*lease]
}

type member struct {
	hub.Member
	leases     []*lease // one for each holder: few
	prev, next *member
}

type lease struct {
	m       *member
	holder  string
	expires int64 // alive before it
	index   int   // in presence.leases
}

func newPresence() *presence {
	p := &presence{members: make(map[string]*member)}
	p.leases.moved = func(l *lease, i int) { l.index = i }
	return p
}

// sweep ends at most limit expired leases, and says whether there are more.
func (p *presence) sweep(room string, now instant, limit int) (events []hub.PresenceEvent, ended int, more bool) {
	for ; p.leases.due() <= now.at; ended++ {
		if ended == limit {
			return events, ended, true
		}
		if ev, left := p.end(room, p.leases.top(), now); left {
			events = append(events, ev)
		}
	}
	return events, ended, false
}

// end takes the lease away; left says that it was its member's last.
func (p *presence) end(room string, l *lease, now instant) (ev hub.PresenceEvent, left bool) {
	p.leases.remove(l.index)
	m := l.m
	m.leases = slices.DeleteFunc(m.leases, func(o *lease) bool { return o == l })
	if len(m.leases) > 0 {
		return ev, false
	}
	delete(p.members, m.Client)
	if m.prev != nil {
		m.prev.next = m.next
	} else {
		p.first = m.next
	}
	if m.next != nil {
		m.next.prev = m.prev
	} else {
		p.last = m.prev
	}
	return hub.PresenceEvent{Room: room, Member: m.Member, Count: len(p.members), Time: now.wall}, true
}

func (p *presence) find(client, holder string) *lease {
	m := p.members[client]
	if m == nil {
		return nil
	}
	for _, l := range m.leases {
		if l.holder == holder {
			return l
		}
	}
	return nil
}

// add makes a lease; joined says that it is its member's first.
func (p *presence) add(room string, l hub.Lease, now instant) (ev hub.PresenceEvent, joined bool) {
	m := p.members[l.Client]
	if m == nil {
		joined = true
		m = p.join(hub.Member{Client: l.Client, From: l.From, Since: now.wall})
	}
	p.hold(m, l.Holder, after(now.at, l.TTL))
	return hub.PresenceEvent{Room: room, Join: true, Member: m.Member, Count: len(p.members), Time: now.wall}, joined
}

// join adds a member at the end of the order of joining.
func (p *presence) join(of hub.Member) *member {
	m := &member{Member: of, prev: p.last}
	if p.last != nil {
		m.Since = max(m.Since, p.last.Since)
		p.last.next = m
	} else {
		p.first = m
	}
	p.last = m
	p.members[m.Client] = m
	return m
}

func (p *presence) hold(m *member, holder string, expires int64) {
	l := &lease{m: m, holder: holder, expires: expires}
	m.leases = append(m.leases, l)
	p.leases.push(expires, l)
}

// sweepPresence ends expired leases of the room and tells its watchers.
func (sh *shard) sweepPresence(r *room, now instant, limit int) (more bool) {
	if r.presence == nil {
		return false
	}
	events, ended, more := r.presence.sweep(r.name, now, limit)
	sh.s.leases.Add(-int64(ended))
	sh.dropEmptyPresence(r)
	r.tell(events)
	return more
}

func (sh *shard) dropEmptyPresence(r *room) {
	if r.presence != nil && len(r.presence.members) == 0 {
		r.presence = nil
	}
}

// lockPresent locks the room's shard once no lease in the room is expired any
// more, in holds of bounded length.
func (sh *shard) lockPresent(room string) (now instant, ok bool) {
	for {
		if !sh.lock() {
			return now, false
		}
		now = sh.now()
		r := sh.rooms[room]
		if r == nil || !sh.sweepPresence(r, now, maxPerHold) {
			return now, true
		}
		sh.mu.Unlock()
	}
}

// Renew implements hub.Store. The leases before one that a bound refuses are
// taken, and so are those after it.
func (s *Store) Renew(ctx context.Context, leases []hub.Lease) error {
	return s.eachRoom(ctx, leases, func(sh *shard, now instant, leases []hub.Lease) error {
		return sh.renew(now, leases)
	})
}

// Release implements hub.Store.
func (s *Store) Release(ctx context.Context, leases []hub.Lease) error {
	return s.eachRoom(ctx, leases, func(sh *shard, now instant, leases []hub.Lease) error {
		sh.release(now, leases)
		return nil
	})
}

// eachRoom calls f, with the shard locked and the room swept, for each run of
// leases of one room. A bound's refusal does not end it, and is returned.
func (s *Store) eachRoom(ctx context.Context, leases []hub.Lease, f func(*shard, instant, []hub.Lease) error) (refused error) {
	for len(leases) > 0 {
		if err := s.usable(ctx); err != nil {
			return err
		}
		n := 1
		for n < len(leases) && n < maxPerHold && leases[n].Room == leases[0].Room {
			n++
		}
		sh := s.shardOf(leases[0].Room)
		now, ok := sh.lockPresent(leases[0].Room)
		if !ok {
			return hub.ErrClosed
		}
		err := f(sh, now, leases[:n])
		sh.mu.Unlock()
		if err == ErrTooManyRooms && s.freeRooms() {
			continue
		}
		switch err {
		case ErrTooManyRooms:
			s.warn(warnRooms, "memory store: no place for another room", int64(s.o.MaxRooms))
		case ErrTooManyLeases:
			s.warn(warnLeases, "memory store: no place for another presence lease", int64(s.o.MaxLeases))
		}
		if err != nil {
			refused = err
		}
		leases = leases[n:]
	}
	return refused
}

func (sh *shard) renew(now instant, leases []hub.Lease) (err error) {
	r := sh.open(leases[0].Room, now)
	if r == nil {
		return ErrTooManyRooms
	}
	if r.presence == nil {
		r.presence = newPresence()
	}
	p := r.presence
	var events []hub.PresenceEvent
	for _, l := range leases {
		if l.TTL <= 0 {
			if old := p.find(l.Client, l.Holder); old != nil {
				events = sh.endLease(r, old, now, events)
			}
			continue
		}
		if old := p.find(l.Client, l.Holder); old != nil {
			old.expires = after(now.at, l.TTL)
			p.leases.fix(old.index, old.expires)
			continue
		}
		if sh.s.leases.Add(1) > int64(sh.s.o.MaxLeases) {
			sh.s.leases.Add(-1)
			err = ErrTooManyLeases
			continue
		}
		if ev, joined := p.add(r.name, l, now); joined {
			events = append(events, ev)
		}
	}
	r.touched = max(r.touched, now.at)
	sh.dropEmptyPresence(r)
	sh.settle(r, now)
	r.tell(events)
	return err
}

func (sh *shard) release(now instant, leases []hub.Lease) {
	r := sh.rooms[leases[0].Room]
	if r == nil || r.presence == nil {
		return
	}
	var events []hub.PresenceEvent
	for _, l := range leases {
		if old := r.presence.find(l.Client, l.Holder); old != nil {
			events = sh.endLease(r, old, now, events)
		}
	}
	r.touched = max(r.touched, now.at)
	sh.dropEmptyPresence(r)
	sh.settle(r, now)
	r.tell(events)
}

func (sh *shard) endLease(r *room, l *lease, now instant, events []hub.PresenceEvent) []hub.PresenceEvent {
	sh.s.leases.Add(-1)
	if ev, left := r.presence.end(r.name, l, now); left {
		events = append(events, ev)
	}
	return events
}

// Present implements hub.Store.
func (s *Store) Present(ctx context.Context, room string, limit int) (hub.Presence, error) {
	if err := s.usable(ctx); err != nil {
		return hub.Presence{}, err
	}
	sh := s.shardOf(room)
	_, ok := sh.lockPresent(room)
	if !ok {
		return hub.Presence{}, hub.ErrClosed
	}
	defer sh.mu.Unlock()
	r := sh.rooms[room]
	if r == nil || r.presence == nil {
		return hub.Presence{}, nil
	}
	out := hub.Presence{Count: len(r.presence.members)}
	if n := min(limit, out.Count); n > 0 {
		out.Members = make([]hub.Member, 0, n)
		for m := r.presence.first; len(out.Members) < n; m = m.next {
			out.Members = append(out.Members, m.Member)
		}
	}
	return out, nil
}
