package hub

import (
	"context"
	"sync"
	"time"
)

// room is a room that has, or lately had, readers on this node: its log, who
// reads it, and the repair of what the store's watch missed.
type room struct {
	hub  *Hub   // set once
	name string // set once

	ready chan struct{} // closed once open has ended
	err   error         // why it could not be opened; set before ready is closed

	// guarded by hub.mu
	refs      int       // readers, and callers about to become some
	idleSince time.Time // when refs became 0

	mu sync.Mutex // after a Subscriber's mu; nothing is called with it held but the work queue
	// guarded by mu
	open    bool
	closed  bool
	stop    func() // ends the store's watch
	log     log
	missed  bool // something came before the log was open
	unsure  bool // the store asked for a resync that is not done: offsets prove nothing
	resyncs int  // how often it did
	filling bool
	fillAt  time.Time // when to try again to fill, zero for not at all

	members  []*membership // nil where one has left during a round
	holes    int           // the nils among members; none without an active round
	queued   bool          // in the work queue, or a worker has it
	round    round
	began    time.Time     // the last round
	ended    time.Time     // the last round
	took     time.Duration // the last round
	shown    uint64        // log entries before it have been through a round
	presence int           // members that want presence events
	seen     time.Time
}

// round is one walk of a worker over a room's members, cut into slices.
type round struct {
	active   bool
	from, to uint64 // the log entries that it is about
	i, n     int    // members walked, members to walk
}

// start opens the room: watch first, then the head, so that what is published
// in between is in one of them.
func (r *room) start() {
	ctx, cancel := context.WithTimeout(r.hub.ctx, r.hub.o.StoreTimeout)
	defer cancel()
	stop, err := r.hub.store.Watch(ctx, r.name, r)
	if err != nil {
		r.fail(err)
		return
	}
	heads, err := r.hub.store.Heads(ctx, []string{r.name})
	if err != nil {
		stop()
		r.fail(err)
		return
	}
	r.mu.Lock()
	r.stop = stop
	r.log = newLog(heads[0])
	r.open = true
	closed := r.closed
	if r.missed && !closed {
		r.fillLocked()
	}
	r.mu.Unlock()
	if closed {
		stop()
	}
	close(r.ready)
}

func (r *room) fail(err error) {
	r.err = err
	r.hub.forget(r)
	close(r.ready)
}

// close ends the watch. Nobody reads the room any more.
func (r *room) close() {
	r.mu.Lock()
	stop := r.stop
	r.stop, r.closed = nil, true
	for r.log.len() > 0 {
		r.evictLocked()
	}
	r.log.ring = nil
	r.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// Messages implements Watcher.
func (r *room) Messages(_ string, msgs []*Message) {
	r.mu.Lock()
	r.ingestLocked(msgs)
	r.mu.Unlock()
}

// Presence implements Watcher.
func (r *room) Presence(_ string, events []PresenceEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// A poll that wants presence is away between two requests.
	if !r.open || r.closed || (r.presence == 0 && time.Since(r.seen) > r.hub.o.Linger) {
		return
	}
	for i := range events {
		r.appendLocked(Event{Kind: EventPresence, Room: r.name, At: r.log.head, Time: events[i].Time, Presence: &events[i]})
	}
}

// Resync implements Watcher.
func (r *room) Resync(string) {
	r.mu.Lock()
	r.unsure = true
	r.resyncs++
	r.fillLocked()
	r.mu.Unlock()
}

// ingestLocked appends the messages that directly follow the head, drops those
// that are there already, and asks the store wherever it cannot tell.
func (r *room) ingestLocked(msgs []*Message) {
	if r.closed {
		return
	}
	if !r.open {
		r.missed = true
		return
	}
	l := &r.log
	for _, m := range msgs {
		switch {
		case m.Ephemeral():
			r.appendLocked(Event{Kind: EventMessage, Room: r.name, At: l.head, Time: m.Time, Message: m})
		case r.unsure:
			// It may follow another message than the log's head, with the same
			// offset. Only a page that begins at the head, by its id, tells.
			r.fillLocked()
		case m.Epoch == l.head.Epoch && m.Offset == l.head.Offset+1, l.head.IsZero() && m.Offset == 1:
			r.appendLocked(Event{Kind: EventMessage, Room: r.name, At: m.Position(), Time: m.Time, Message: m})
		case m.Epoch == l.head.Epoch && m.Offset < l.head.Offset, m.Epoch == l.head.Epoch && m.Position() == l.head:
			// Heard before. Where it is another message than the one that
			// was heard, the next check of heads finds the fork.
		case m.Epoch < l.head.Epoch:
			// A straggler from a life of the room that is over.
		default:
			r.fillLocked()
			return
		}
	}
}

func (r *room) appendLocked(ev Event) {
	before := r.log.bytes
	r.log.append(ev)
	for r.log.len() > r.hub.o.LogMessages || (r.log.bytes > r.hub.o.LogBytes && r.log.len() > 1) {
		r.evictLocked()
	}
	total := r.hub.held.Add(int64(r.log.bytes - before))
	if total > r.hub.o.TotalBytes {
		// Every room that grows now gives up half of what it holds: the store
		// still has it.
		for n := r.log.len() / 2; n > 0; n-- {
			held := r.log.bytes
			r.evictLocked()
			r.hub.held.Add(int64(r.log.bytes - held))
		}
	}
	r.scheduleLocked()
}

func (r *room) evictLocked() {
	e := r.log.evict()
	e.drop(&r.hub.held)
	if r.closed {
		r.hub.held.Add(-int64(e.size()))
	}
}

// gapLocked puts a gap into the log, for all who read it.
func (r *room) gapLocked(g *Gap) {
	r.hub.stats.gaps.Add(1)
	r.appendLocked(Event{Kind: EventGap, Room: r.name, At: g.To, Time: time.Now().UnixMilli(), Gap: g})
	r.log.jump(g.To)
}

// fillLocked starts reading from the store what follows the log's head.
func (r *room) fillLocked() {
	if !r.open {
		r.missed = true
		return
	}
	if r.filling || r.closed {
		r.missed = true // the fill under way looks again
		return
	}
	r.filling, r.missed, r.fillAt = true, false, time.Time{}
	r.hub.stats.fills.Add(1)
	r.hub.wg.Go(r.fill)
}

// fill reads from the store until the log has all there is. A store that does
// not answer is asked again by the hub's tick.
func (r *room) fill() {
	for {
		r.mu.Lock()
		head, resyncs := r.log.head, r.resyncs
		r.missed = false
		r.mu.Unlock()
		ctx, cancel := context.WithTimeout(r.hub.ctx, r.hub.o.StoreTimeout)
		page, err := r.hub.store.Read(ctx, ReadRequest{Room: r.name, Mode: ReadAfter, From: head, Limit: 256, Bytes: 1 << 20})
		cancel()
		r.mu.Lock()
		if err != nil || r.closed {
			r.filling = false
			if !r.closed {
				r.fillAt = time.Now().Add(time.Second)
			}
			r.mu.Unlock()
			return
		}
		// Where messages came meanwhile, a gap that was told is told of an
		// older head: look again.
		current := r.log.head == head
		if page.Gap != nil && current {
			r.gapLocked(page.Gap)
		}
		r.ingestPageLocked(head, page)
		if current && resyncs == r.resyncs {
			r.unsure = false
		}
		if !page.More && !r.missed && !r.unsure && (page.Gap == nil || current) {
			r.filling = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
	}
}

// ingestPageLocked takes from a page, read after a position, what directly
// follows the head: by its id, since after a failover another message may have
// the head's offset.
func (r *room) ingestPageLocked(after Position, page Page) {
	if page.Gap != nil {
		after = page.Gap.To
	}
	for _, m := range page.Messages {
		if after == r.log.head {
			r.appendLocked(Event{Kind: EventMessage, Room: r.name, At: m.Position(), Time: m.Time, Message: m})
		}
		after = m.Position()
	}
}

// learn compares the log with a page that a reader got from the store, and
// lets the log catch up where the store is ahead of it. A page that was read
// before the log moved on teaches nothing.
func (r *room) learn(after Position, page Page) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.open || r.closed {
		return
	}
	r.ingestPageLocked(after, page)
	head := r.log.head
	if page.Head == head || (page.Head.Epoch == head.Epoch && page.Head.Offset < head.Offset) {
		return
	}
	r.fillLocked()
}

// scheduleLocked queues the room for the delivery workers.
func (r *room) scheduleLocked() {
	if !r.queued && len(r.members) > 0 {
		r.queued = true
		r.pushLocked()
	}
}

// joinLocked adds a member.
func (r *room) joinLocked(m *membership) {
	if len(r.members) == 0 && !r.round.active {
		r.shown = r.log.next // nobody was here for what came before
	}
	m.index = len(r.members)
	r.members = append(r.members, m)
	if m.presence {
		r.presence++
	}
}

// leaveLocked removes a member. While a round is walking over them, the others
// keep their places, so that nobody is missed or visited twice.
func (r *room) leaveLocked(m *membership) {
	if m.presence {
		r.presence--
		r.seen = time.Now()
	}
	if r.round.active {
		r.members[m.index] = nil
		r.holes++
		return
	}
	r.removeLocked(m.index)
}

func (r *room) removeLocked(i int) {
	last := len(r.members) - 1
	r.members[i] = r.members[last]
	r.members[i].index = i
	r.members[last] = nil
	r.members = r.members[:last]
	if cap(r.members) > 64 && len(r.members) < cap(r.members)/4 {
		r.members = append(make([]*membership, 0, cap(r.members)/2), r.members...)
	}
}

// compactLocked closes the holes that a round has left.
func (r *room) compactLocked() {
	if r.holes == 0 {
		return
	}
	kept := r.members[:0]
	for _, m := range r.members {
		if m != nil {
			m.index = len(kept)
			kept = append(kept, m)
		}
	}
	clear(r.members[len(kept):])
	r.members, r.holes = kept, 0
}
