package memory

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/culvertd/culvert/hub"
)

// shard is a part of the rooms, with everything that belongs to them.
type shard struct {
	s *Store // set once

	mu sync.Mutex
	// Guarded by mu.
	closed bool
	latest int64 // the latest instant.at seen: time does not run backwards here
	rooms  map[string]*room
	keys   keyTable
	// timers has each room that needs a look at some time, at that time or
	// earlier.
	timers dueHeap[*room]
	// The rooms with a history, in the order of their last publish.
	lruFirst, lruLast *room

	// oldest is lruFirst.lastPublish, or never; written with mu, read without.
	oldest atomic.Int64

	stopMu sync.Mutex
	// Watches that were stopped and not taken out yet, guarded by stopMu.
	stopped []*watch
	// hasStopped is true while stopped is not empty.
	hasStopped atomic.Bool

	_ [64]byte // the next shard's lock is on another cache line
}

func (sh *shard) init(s *Store) {
	sh.s = s
	sh.rooms = make(map[string]*room)
	sh.timers.moved = func(r *room, i int) { r.timer = i }
	sh.oldest.Store(never)
}

// lock takes the shard. Where it returns false the store was closed and the
// lock is not held.
func (sh *shard) lock() bool {
	sh.mu.Lock()
	if sh.closed {
		sh.mu.Unlock()
		return false
	}
	if sh.hasStopped.Load() {
		sh.dropStopped()
	}
	return true
}

// now reads the clock; mu is held.
func (sh *shard) now() instant { return sh.forward(sh.s.now()) }

// forward is what the clock said a moment ago, and not before what the shard has
// seen since; mu is held.
func (sh *shard) forward(now instant) instant {
	sh.latest = max(sh.latest, now.at)
	now.at = sh.latest
	return now
}

func (sh *shard) close() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.closed = true
	sh.rooms, sh.keys, sh.timers.items = nil, keyTable{}, nil
	sh.lruFirst, sh.lruLast = nil, nil
	sh.oldest.Store(never)
	sh.stopMu.Lock()
	sh.stopped = nil
	sh.stopMu.Unlock()
}

// find returns the room without what has expired in it, or nil where it is not
// known (any more).
func (sh *shard) find(name string, now instant) *room {
	r := sh.rooms[name]
	if r == nil {
		return nil
	}
	sh.expire(r, now, sh.s.o.HistoryMessages)
	if r.forgettable() && r.due(&sh.s.o) <= now.at {
		sh.forget(r)
		return nil
	}
	return r
}

// open returns the room, made if need be, or nil where MaxRooms is reached.
func (sh *shard) open(name string, now instant) *room {
	if r := sh.find(name, now); r != nil {
		return r
	}
	if sh.s.rooms.Add(1) > int64(sh.s.o.MaxRooms) {
		sh.s.rooms.Add(-1)
		return nil
	}
	// A copy: the name may be a part of a whole request's address, which would live
	// as long as the room, and is in no bound.
	name = strings.Clone(name)
	r := &room{name: name, timer: -1, touched: now.at}
	sh.rooms[name] = r
	return r
}

// look sets when the room is looked at next if that is earlier than known.
func (sh *shard) look(r *room, due int64) {
	if r.timer < 0 {
		if due == never {
			return
		}
		sh.timers.push(due, r)
	} else if due < sh.timers.items[r.timer].due {
		sh.timers.fix(r.timer, due)
	} else {
		return
	}
	sh.s.needAt(due)
}

// settle forgets the room where nothing keeps it, and otherwise sets when to
// look at it next.
func (sh *shard) settle(r *room, now instant) {
	due := r.due(&sh.s.o)
	switch {
	case due <= now.at && r.forgettable():
		sh.forget(r)
	case r.timer < 0:
		sh.look(r, due)
	case due == never:
		sh.timers.remove(r.timer)
	default:
		sh.timers.fix(r.timer, due)
		sh.s.needAt(due)
	}
}

func (sh *shard) forget(r *room) {
	delete(sh.rooms, r.name)
	if r.timer >= 0 {
		sh.timers.remove(r.timer)
	}
	sh.s.rooms.Add(-1)
	if birth, ok := hub.EpochBirth(r.epoch); ok {
		for last := sh.s.lastForgotten.Load(); birth > last && !sh.s.lastForgotten.CompareAndSwap(last, birth); {
			last = sh.s.lastForgotten.Load()
		}
	}
}

// published moves the room to the end of the order of publishes.
func (sh *shard) published(r *room, stamp int64) {
	if sh.lruLast != r {
		sh.unlink(r)
		r.lruPrev = sh.lruLast
		if r.lruPrev != nil {
			r.lruPrev.lruNext = r
		} else {
			sh.lruFirst = r
		}
		sh.lruLast = r
	}
	r.lastPublish = stamp
	sh.noteOldest()
}

// unlink takes the room out of the order of publishes, if it is there.
func (sh *shard) unlink(r *room) {
	if r.lruPrev == nil && sh.lruFirst != r {
		return
	}
	if r.lruPrev != nil {
		r.lruPrev.lruNext = r.lruNext
	} else {
		sh.lruFirst = r.lruNext
	}
	if r.lruNext != nil {
		r.lruNext.lruPrev = r.lruPrev
	} else {
		sh.lruLast = r.lruPrev
	}
	r.lruPrev, r.lruNext = nil, nil
}

func (sh *shard) noteOldest() {
	oldest := int64(never)
	if sh.lruFirst != nil {
		oldest = sh.lruFirst.lastPublish
	}
	if sh.oldest.Load() != oldest {
		sh.oldest.Store(oldest)
	}
}
