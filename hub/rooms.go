package hub

import (
	"context"
	"strings"
	"time"
)

// acquire returns an open room and keeps it open until release.
func (h *Hub) acquire(ctx context.Context, name string) (*room, error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, ErrClosed
	}
	r := h.rooms[name]
	if r == nil {
		name = strings.Clone(name) // which may be a part of a whole request's address
		r = &room{hub: h, name: name, ready: make(chan struct{})}
		h.rooms[name] = r
		// Not on the caller's context: others may be waiting for the room too.
		h.wg.Go(r.start)
	}
	r.refs++
	h.mu.Unlock()
	select {
	case <-r.ready:
	case <-ctx.Done():
		h.release(r)
		return nil, ctx.Err()
	}
	if r.err != nil {
		h.release(r)
		return nil, r.err
	}
	return r, nil
}

func (h *Hub) release(r *room) {
	h.mu.Lock()
	r.refs--
	if r.refs == 0 {
		r.idleSince = time.Now()
	}
	h.mu.Unlock()
}

// forget takes a room that could not be opened out of the table.
func (h *Hub) forget(r *room) {
	h.mu.Lock()
	if h.rooms[r.name] == r {
		delete(h.rooms, r.name)
	}
	h.mu.Unlock()
}

// closeIdle closes rooms that nobody has read for Linger.
func (h *Hub) closeIdle(now time.Time) {
	var idle []*room
	h.mu.Lock()
	for name, r := range h.rooms {
		if r.refs == 0 && now.Sub(r.idleSince) >= h.o.Linger {
			select {
			case <-r.ready:
				idle = append(idle, r)
				delete(h.rooms, name)
			default:
			}
		}
	}
	h.mu.Unlock()
	for _, r := range idle {
		r.close()
	}
}

func (h *Hub) openRooms() []*room {
	h.mu.Lock()
	rooms := make([]*room, 0, len(h.rooms))
	for _, r := range h.rooms {
		rooms = append(rooms, r)
	}
	h.mu.Unlock()
	return rooms
}

// headsBatch is how many rooms one call of Store.Heads is about.
const headsBatch = 500

// checkHeads compares the logs' heads with the store's, and has those logs
// read on that differ.
func (h *Hub) checkHeads() {
	rooms := h.openRooms()
	for len(rooms) > 0 {
		n := min(len(rooms), headsBatch)
		h.checkSome(rooms[:n])
		rooms = rooms[n:]
	}
}

func (h *Hub) checkSome(rooms []*room) {
	names := make([]string, 0, len(rooms))
	before := make([]Position, 0, len(rooms))
	open := rooms[:0]
	for _, r := range rooms {
		r.mu.Lock()
		if r.open && !r.closed {
			names, before, open = append(names, r.name), append(before, r.log.head), append(open, r)
		}
		r.mu.Unlock()
	}
	if len(names) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(h.ctx, h.o.StoreTimeout)
	defer cancel()
	heads, err := h.store.Heads(ctx, names)
	if err != nil {
		return // the next check will tell
	}
	for i, r := range open {
		if heads[i] == before[i] {
			continue
		}
		r.mu.Lock()
		// A log that has moved on by itself meanwhile is looked at next time.
		if r.log.head == before[i] {
			r.fillLocked()
		}
		r.mu.Unlock()
	}
}

// refill starts again the fills that the store did not answer.
func (h *Hub) refill(now time.Time) {
	for _, r := range h.openRooms() {
		r.mu.Lock()
		if !r.fillAt.IsZero() && !now.Before(r.fillAt) {
			r.fillLocked()
		}
		r.mu.Unlock()
	}
}
