package memory

import (
	"context"

	"github.com/culvertd/culvert/hub"
)

// Read implements hub.Store.
func (s *Store) Read(ctx context.Context, q hub.ReadRequest) (hub.Page, error) {
	if err := s.usable(ctx); err != nil {
		return hub.Page{}, err
	}
	sh := s.shardOf(q.Room)
	if !sh.lock() {
		return hub.Page{}, hub.ErrClosed
	}
	defer sh.mu.Unlock()
	now := sh.now()
	r := sh.find(q.Room, now)
	if r == nil || r.epoch == "" {
		var page hub.Page
		if usesFrom(q.Mode) && !q.From.IsZero() {
			page.Gap = &hub.Gap{Room: q.Room, Reason: hub.GapLost, From: q.From}
		}
		return page, nil
	}
	r.touched = now.at
	return r.read(q), nil
}

func usesFrom(m hub.ReadMode) bool { return m == hub.ReadAfter || m == hub.ReadBefore }

func (r *room) read(q hub.ReadRequest) hub.Page {
	page := hub.Page{Head: r.headPosition(), Floor: r.floorPosition()}
	floor := r.floor()
	from := q.From
	if usesFrom(q.Mode) {
		if page.Gap = r.gap(q); page.Gap != nil {
			from = page.Gap.To
		}
	}
	// Which of the messages floor+1 ... head: [lo, hi) as indexes of history,
	// to be taken from the front or from the back.
	lo, hi, newest := 0, r.history.len(), false
	switch q.Mode {
	case hub.ReadAfter:
		if from.Offset > floor {
			lo = int(from.Offset - floor)
		}
	case hub.ReadBefore:
		hi, newest = 0, true
		if from.Offset > floor {
			hi = int(from.Offset - floor - 1)
		}
	case hub.ReadLatest:
		newest = true
	}
	page.Messages, page.More = r.take(lo, hi, newest, max(q.Limit, 1), q.Bytes)
	return page
}

// take copies messages of [lo, hi), from its end where newest, within limit and
// bytes, but at least one; more says that some of the range are left out.
func (r *room) take(lo, hi int, newest bool, limit, bytes int) (msgs []*hub.Message, more bool) {
	n, sum := 0, 0
	for n < hi-lo && n < limit {
		i := lo + n
		if newest {
			i = hi - 1 - n
		}
		sum += len(r.history.at(i).m.Data)
		if bytes > 0 && sum > bytes && n > 0 {
			break
		}
		n++
	}
	if n == 0 {
		return nil, false
	}
	more = n < hi-lo
	if newest {
		lo = hi - n
	}
	msgs = make([]*hub.Message, n)
	for i := range msgs {
		msgs[i] = r.history.at(lo + i).m
	}
	return msgs, more
}

// gap says what stands between q.From and the history, or nil. This store is
// the only truth: a position it does not know is lost, never ahead of it.
func (r *room) gap(q hub.ReadRequest) *hub.Gap {
	from, floor := q.From, r.floor()
	gap := func(reason hub.GapReason, to hub.Position) *hub.Gap {
		return &hub.Gap{Room: q.Room, Reason: reason, From: from, To: to}
	}
	switch {
	case from.IsZero():
		if q.Mode == hub.ReadAfter && floor > 0 {
			return gap(hub.GapEvicted, r.floorPosition())
		}
		return nil
	case from.Epoch != r.epoch:
		return gap(hub.GapLost, r.floorPosition())
	case from.Offset > r.head:
		return gap(hub.GapLost, r.headPosition())
	case from.Offset < floor:
		return gap(hub.GapEvicted, r.floorPosition())
	case from.Offset == floor:
		if floor > 0 && from.ID != r.floorID {
			return gap(hub.GapFork, r.floorPosition())
		}
		return nil
	}
	if m := r.history.at(int(from.Offset - floor - 1)).m; m.ID != from.ID {
		return gap(hub.GapFork, m.Position())
	}
	return nil
}

// Heads implements hub.Store.
func (s *Store) Heads(ctx context.Context, rooms []string) ([]hub.Position, error) {
	heads := make([]hub.Position, len(rooms))
	for i, name := range rooms {
		if err := s.usable(ctx); err != nil {
			return nil, err
		}
		sh := s.shardOf(name)
		if !sh.lock() {
			return nil, hub.ErrClosed
		}
		now := sh.now()
		if r := sh.find(name, now); r != nil {
			r.touched = now.at
			heads[i] = r.headPosition()
		}
		sh.mu.Unlock()
	}
	return heads, nil
}
