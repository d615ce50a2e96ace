package memory

import (
	"context"
	"fmt"

	"github.com/culvertd/culvert/hub"
)

// maxPerHold is the most elements of a batch applied, or things freed, in one
// hold of a shard's lock: some 100 microseconds.
const maxPerHold = 256

// Prompt implements hub.Prompt: all is in memory, and no lock is held for long.
func (s *Store) Prompt() {}

// Publish implements hub.Store. Messages keep the slices and strings they were
// made of: the caller must not change Data afterwards.
func (s *Store) Publish(ctx context.Context, batch []hub.Publish) []hub.Result {
	results := make([]hub.Result, len(batch))
	left := results
	// One look at the clock is enough for what takes less than a millisecond:
	// in a batch of many rooms every one would look again.
	now := s.now()
	var made []*hub.Message
	for n := 0; len(batch) > 0; batch, left = batch[n:], left[n:] {
		if err := s.usable(ctx); err != nil {
			fail(left, err)
			break
		}
		n, made = s.publishRun(batch, left, made, now)
		if s.bytes() > s.o.TotalBytes {
			s.enforceTotal()
			now = s.now()
		}
	}
	return results
}

func fail(results []hub.Result, err error) {
	for i := range results {
		results[i] = hub.Result{Err: err}
	}
}

// publishRun applies the first elements of batch, those whose rooms are of one
// shard, and returns how many. What watchers were told of is appended to made.
func (s *Store) publishRun(batch []hub.Publish, results []hub.Result, made []*hub.Message, now instant) (int, []*hub.Message) {
	sh := s.shardOf(batch[0].Room)
	for tries := 0; ; tries++ {
		n := 0
		if n, made = sh.publish(batch, results, made, now); n > 0 {
			return n, made
		}
		// The first element met a bound. What has expired elsewhere may make
		// place for it; a second bound may come after the first.
		switch results[0].Err {
		case hub.ErrKeysFull:
			if tries < 2 && s.freeKeys() {
				now = s.now()
				continue
			}
			s.warn(warnKeys, "memory store: no place for another idempotency key", s.maxKeys)
		case ErrTooManyRooms:
			if tries < 2 && s.freeRooms() {
				now = s.now()
				continue
			}
			s.warn(warnRooms, "memory store: no place for another room", int64(s.o.MaxRooms))
		}
		return 1, made
	}
}

// publish applies elements under one hold of the lock, and returns how many.
// It stops before an element of another shard, and before one that a bound on
// keys or rooms refuses, whose result has the reason.
func (sh *shard) publish(batch []hub.Publish, results []hub.Result, made []*hub.Message, now instant) (n int, _ []*hub.Message) {
	if !sh.lock() {
		fail(results, hub.ErrClosed)
		return len(results), made
	}
	defer sh.mu.Unlock()
	now = sh.forward(now)
	var watched *room // the room that pending is for
	pending := 0      // where its messages begin in made, which end there
	for n < min(len(batch), maxPerHold) {
		p := &batch[n]
		if n > 0 && p.Room != batch[n-1].Room && sh.s.shardOf(p.Room) != sh {
			break
		}
		r, m := sh.apply(p, &results[n], now)
		if err := results[n].Err; err == hub.ErrKeysFull || err == ErrTooManyRooms {
			break
		}
		if m != nil && len(r.watchers) > 0 {
			if r != watched {
				if watched != nil {
					watched.deliver(made[pending:len(made):len(made)])
				}
				watched, pending = r, len(made)
			}
			if made == nil {
				made = make([]*hub.Message, 0, len(batch)) // for all runs: each room's part is its watcher's to keep
			}
			made = append(made, m)
		}
		n++
	}
	if watched != nil {
		watched.deliver(made[pending:len(made):len(made)])
	}
	return n, made
}

// apply does one publish. It returns the message where one was made, and its
// room.
func (sh *shard) apply(p *hub.Publish, res *hub.Result, now instant) (*room, *hub.Message) {
	*res = hub.Result{}
	s := sh.s
	r := sh.find(p.Room, now)
	var hash keyHash
	var known bool
	if p.Key != "" {
		if len(p.ID) > maxIDLen {
			res.Err = fmt.Errorf("memory store: a message id of %d bytes, %d are allowed", len(p.ID), maxIDLen)
			return nil, nil
		}
		hash = s.hashKey(p)
		var e keyEntry
		if e, known = sh.keys.entries[hash]; known && e.expires > now.at {
			sh.repeat(r, p, &e, res)
			return nil, nil
		}
	}
	m := hub.Message{Room: p.Room, ID: p.ID, From: p.From, Data: p.Data}
	if size := m.Size(); size > s.o.HistoryBytes {
		res.Err = fmt.Errorf("%w: it counts %d bytes, a room holds %d", hub.ErrTooLarge, size, s.o.HistoryBytes)
		return nil, nil
	}
	if p.Key != "" && !known && s.keys.Add(1) > s.maxKeys {
		s.keys.Add(-1)
		res.Err = hub.ErrKeysFull
		return nil, nil
	}
	if r == nil && !p.Ephemeral {
		if r = sh.open(p.Room, now); r == nil {
			if p.Key != "" && !known {
				s.keys.Add(-1)
			}
			res.Err = ErrTooManyRooms
			return nil, nil
		}
	}

	m.Time = now.wall
	if r != nil {
		m.Room = r.name // one string for all
		m.Time = max(m.Time, r.lastWall)
		r.lastWall = m.Time
	}
	var made *hub.Message
	if !p.Ephemeral {
		made = sh.append(r, &m, now)
	} else if r != nil && len(r.watchers) > 0 {
		made = new(hub.Message)
		*made = m
	}
	res.Time = m.Time
	if !p.Ephemeral {
		res.Position = made.Position()
	}
	if p.Key != "" {
		e := keyEntry{
			fingerprint: p.Fingerprint,
			offset:      res.Position.Offset,
			time:        m.Time,
			expires:     after(now.at, defaultKeyTTL),
			idLen:       uint8(len(p.ID)),
		}
		if p.KeyTTL > 0 {
			e.expires = after(now.at, p.KeyTTL)
		}
		copy(e.id[:], p.ID)
		sh.keys.put(hash, e, known)
		s.needAt(e.expires)
		if r != nil {
			r.keysUntil = max(r.keysUntil, e.expires)
		}
	}
	return r, made
}

// repeat answers a publish whose key is known.
func (sh *shard) repeat(r *room, p *hub.Publish, e *keyEntry, res *hub.Result) {
	if e.fingerprint != p.Fingerprint {
		res.Err = hub.ErrKeyConflict
		return
	}
	res.Duplicate = true
	res.Time = e.time
	if e.offset > 0 {
		res.Position = hub.Position{Epoch: r.epoch, Offset: e.offset, ID: string(e.id[:e.idLen])}
	}
}

// append gives the message its place and keeps it.
func (sh *shard) append(r *room, proto *hub.Message, now instant) *hub.Message {
	s := sh.s
	if r.epoch == "" {
		r.epoch = hub.NewEpoch(max(now.wall, s.lastForgotten.Load()+1))
	}
	m := new(hub.Message)
	*m = *proto
	r.head++
	m.Epoch, m.Offset = r.epoch, r.head
	r.headID = m.ID
	r.lastAt = max(r.lastAt, now.at)
	r.touched = r.lastAt
	size := m.Size()

	r.history.push(held{m, r.lastAt})
	r.bytes += size
	sh.published(r, s.added.Add(int64(size)))
	for r.history.len() > s.o.HistoryMessages || r.bytes > s.o.HistoryBytes {
		sh.trim(r)
	}
	sh.look(r, after(r.history.at(0).at, s.o.HistoryAge))
	return m
}
