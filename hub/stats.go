package hub

import (
	"context"
	"maps"
	"sync/atomic"
)

// counters count since the start of the hub.
type counters struct {
	published, duplicates, refused atomic.Int64
	delivered, caughtUp            atomic.Int64
	gaps, slow, pumps, fills       atomic.Int64
	presenceFailed                 atomic.Int64
}

// Stats are a node's figures. Counters count from its start.
type Stats struct {
	// Subscribers are the connections and waiting polls, by transport.
	Subscribers map[string]int
	// Rooms are those that have, or lately had, a reader here.
	Rooms int
	// HeldBytes are in logs, wire forms and remainders.
	HeldBytes int64
	// Published, Duplicates and Refused are the outcomes of publishes.
	Published, Duplicates, Refused int64
	// Delivered counts frames given to connections; CaughtUp the messages that
	// readers got from the store because the log no longer had them.
	Delivered, CaughtUp int64
	// Gaps that were told, connections ended as slow, writers started for
	// connections that did not take everything, and logs repaired from the
	// store.
	Gaps, Slow, Writers, Fills int64
	// PresenceFailed counts renewals of leases that the store refused.
	PresenceFailed int64
}

// Stats returns the node's figures.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	subs := maps.Clone(h.subscribers)
	rooms := len(h.rooms)
	h.mu.Unlock()
	c := &h.stats
	return Stats{
		Subscribers: subs, Rooms: rooms, HeldBytes: h.held.Load(),
		Published: c.published.Load(), Duplicates: c.duplicates.Load(), Refused: c.refused.Load(),
		Delivered: c.delivered.Load(), CaughtUp: c.caughtUp.Load(),
		Gaps: c.gaps.Load(), Slow: c.slow.Load(), Writers: c.pumps.Load(), Fills: c.fills.Load(),
		PresenceFailed: c.presenceFailed.Load(),
	}
}

// RoomStats are one room's figures on this node, and its place in the store.
type RoomStats struct {
	Room string
	// Subscribers are those on this node, by transport.
	Subscribers map[string]int
	Head, Floor Position
	// LogMessages and LogBytes are what this node's log holds.
	LogMessages, LogBytes int
}

// RoomStats returns the figures of one room. Errors as Store.Read.
func (h *Hub) RoomStats(ctx context.Context, room string) (RoomStats, error) {
	if err := ValidateRoom(room); err != nil {
		return RoomStats{}, err
	}
	page, err := h.store.Read(ctx, ReadRequest{Room: room, Mode: ReadLatest, Limit: 1})
	if err != nil {
		return RoomStats{}, err
	}
	st := RoomStats{Room: room, Subscribers: map[string]int{}, Head: page.Head, Floor: page.Floor}
	h.mu.Lock()
	r := h.rooms[room]
	h.mu.Unlock()
	if r == nil {
		return st, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open {
		st.LogMessages, st.LogBytes = r.log.len(), r.log.bytes
	}
	for _, m := range r.members {
		if m != nil {
			st.Subscribers[m.sub.transport]++
		}
	}
	return st, nil
}
