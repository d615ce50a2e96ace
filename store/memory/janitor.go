package memory

import (
	"runtime"
	"time"
)

// The janitor frees what nobody touched since it expired. It sleeps until
// something is due, and at least tick, so that a store where nothing happens
// costs nothing. At most sweepBudget things are freed in one go, maxPerHold in
// one hold of a lock; where more are left it comes back after busyTick. So a
// million keys that expire together are gone in seconds while the longest lock
// hold stays short.
const (
	tick        = time.Second
	longestTick = time.Hour // for a clock that was set forward meanwhile
	busyTick    = 20 * time.Millisecond
	sweepBudget = 64 * 1024
)

func (s *Store) janitor() {
	defer close(s.done)
	timer := time.NewTimer(tick)
	defer timer.Stop()
	swept := s.now().at
	first := 0 // the shard to begin with: where the budget ended
	for {
		select {
		case <-s.quit:
			return
		case <-s.wake:
			// Something is due earlier than was known.
			timer.Reset(time.Duration(max(s.wakeAt.Load()-s.now().at, swept+int64(tick)-s.now().at)))
			continue
		case <-timer.C:
		}
		s.wakeAt.Store(never)
		next, due, more := s.sweep(first, sweepBudget)
		first, swept = next, s.now().at
		if more {
			timer.Reset(busyTick)
			continue
		}
		s.lowerWakeAt(due)
		wait := max(tick, min(longestTick, time.Duration(s.wakeAt.Load()-swept)))
		timer.Reset(wait)
	}
}

// needAt tells the janitor that something is due at a time. It may be called
// with a shard's lock held.
func (s *Store) needAt(due int64) {
	if due < s.wakeAt.Load() && s.lowerWakeAt(due) {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (s *Store) lowerWakeAt(due int64) bool {
	for {
		at := s.wakeAt.Load()
		if due >= at {
			return false
		}
		if s.wakeAt.CompareAndSwap(at, due) {
			return true
		}
	}
}

// sweep goes over all shards once, from the first, and frees about budget
// things. more says that it ended early, at the shard next; otherwise due is
// when there will be something again.
func (s *Store) sweep(first, budget int) (next int, due int64, more bool) {
	due = never
	for i := range shardCount {
		at := (first + i) % shardCount
		sh := &s.shards[at]
		for more := true; more; budget -= maxPerHold {
			if budget <= 0 {
				return at, due, true
			}
			select {
			case <-s.quit:
				return at, due, false
			default:
			}
			if !sh.lock() {
				return at, due, false
			}
			more = sh.sweep(maxPerHold)
			due = min(due, sh.keys.due.due(), sh.timers.due())
			sh.mu.Unlock()
			if !more {
				budget += maxPerHold - 1 // it was next to nothing
			} else {
				runtime.Gosched()
			}
		}
	}
	return first, due, false
}

// sweep frees about limit things and says whether there are more; mu is held.
func (sh *shard) sweep(limit int) (more bool) {
	now := sh.now()
	return sh.sweepKeys(now, limit) || sh.sweepRooms(now, limit)
}

func (sh *shard) sweepKeys(now instant, limit int) (more bool) {
	removed, more := sh.keys.sweep(now.at, limit)
	sh.s.keys.Add(-int64(removed))
	return more
}

func (sh *shard) sweepRooms(now instant, limit int) (more bool) {
	for ; sh.timers.due() <= now.at; limit-- {
		if limit <= 0 {
			return true
		}
		r := sh.timers.top()
		before := r.history.len()
		more := sh.expire(r, now, limit)
		limit -= before - r.history.len()
		if more || sh.sweepPresence(r, now, max(limit, 1)) {
			return true
		}
		sh.settle(r, now)
	}
	return false
}

// freeKeys makes place for keys by removing expired ones everywhere; it says
// whether there is place now. No lock is held by the caller.
func (s *Store) freeKeys() bool {
	s.freeEach(func(sh *shard, now instant) bool { return sh.sweepKeys(now, maxPerHold) },
		func() bool { return s.keys.Load() < s.maxKeys })
	return s.keys.Load() < s.maxKeys
}

// freeRooms does the same for rooms.
func (s *Store) freeRooms() bool {
	place := func() bool { return s.rooms.Load() < int64(s.o.MaxRooms) }
	s.freeEach(func(sh *shard, now instant) bool { return sh.sweepRooms(now, maxPerHold) }, place)
	return place()
}

func (s *Store) freeEach(free func(*shard, instant) bool, enough func() bool) {
	for i := range s.shards {
		sh := &s.shards[i]
		for more := true; more; {
			if enough() || !sh.lock() {
				return
			}
			more = free(sh, sh.now())
			sh.mu.Unlock()
		}
	}
}

// enforceTotal brings the sum of all histories under TotalBytes: the rooms
// whose last publish is longest ago lose their oldest messages first. Once it
// has begun with a room it goes on to a low-water mark, so that a full store
// does not do this for every publish.
func (s *Store) enforceTotal() {
	s.evictMu.Lock()
	defer s.evictMu.Unlock()
	low := s.o.TotalBytes - s.o.TotalBytes/64
	begun := false
	for s.bytes() > s.o.TotalBytes {
		sh := s.oldestShard()
		if sh == nil || !sh.lock() {
			return
		}
		if r := sh.lruFirst; r != nil {
			for n := 0; n < maxPerHold && r.history.len() > 0 && s.bytes() > low; n++ {
				sh.trim(r)
			}
			sh.settle(r, sh.now())
			begun = true
		}
		sh.mu.Unlock()
	}
	if begun {
		s.warn(warnBytes, "memory store: histories are shortened, all together they reached the bound", s.o.TotalBytes)
	}
}

// oldestShard is where the room with the oldest last publish is.
func (s *Store) oldestShard() *shard {
	var found *shard
	oldest := int64(never)
	for i := range s.shards {
		if at := s.shards[i].oldest.Load(); at < oldest {
			found, oldest = &s.shards[i], at
		}
	}
	return found
}
