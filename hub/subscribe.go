package hub

import (
	"context"
	"fmt"
)

// Subscribe adds rooms, all or none of them. A room that is read already keeps
// its place. The cursor says where each of the given rooms stands. The error
// wraps ErrBadRoom, ErrTooManyRooms, ErrClosed, or an error of the store.
func (s *Subscriber) Subscribe(ctx context.Context, subs []Subscription) (Cursor, error) {
	var c Cursor
	err := s.SubscribeThen(ctx, subs, func(at Cursor) []byte { c = at; return nil })
	return c, err
}

// SubscribeThen subscribes and queues the frame that then makes of the cursor:
// it goes out before the first message of the new rooms.
func (s *Subscriber) SubscribeThen(ctx context.Context, subs []Subscription, then func(Cursor) []byte) error {
	for i := range subs {
		if err := ValidateRoom(subs[i].Room); err != nil {
			return err
		}
	}
	added := make([]*membership, 0, len(subs))
	give := func() {
		for _, m := range added {
			s.hub.release(m.room)
		}
	}
	if err := s.admit(subs); err != nil {
		return err
	}
	for i := range subs {
		m, err := s.open(ctx, subs[i])
		if err != nil {
			give()
			return err
		}
		added = append(added, m)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		give()
		return ErrClosed
	}
	if !s.fitLocked(subs) {
		give()
		return s.tooMany()
	}
	c := make(Cursor, 0, len(added))
	for _, m := range added {
		if old := s.findLocked(m.room.name); old != nil {
			s.hub.release(m.room)
			c = append(c, RoomPosition{Room: old.room.name, Position: old.pos})
			continue
		}
		s.joinLocked(m)
		c = append(c, RoomPosition{Room: m.room.name, Position: m.pos})
	}
	if frame := then(c); len(frame) > 0 {
		s.sendLocked(frame)
	}
	s.kickLocked(nil)
	return nil
}

// admit refuses more rooms than are allowed before any of them is opened: one
// that was opened in vain would still be kept for the log's linger.
func (s *Subscriber) admit(subs []Subscription) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(subs) > s.hub.o.MaxRoomsPerSubscriber || !s.fitLocked(subs) {
		return s.tooMany()
	}
	return nil
}

// fitLocked reports whether there is room for those that are not read yet.
func (s *Subscriber) fitLocked(subs []Subscription) bool {
	n := len(s.members)
	for i := range subs {
		if s.findLocked(subs[i].Room) == nil {
			n++
		}
	}
	return n <= s.hub.o.MaxRoomsPerSubscriber
}

func (s *Subscriber) tooMany() error {
	return fmt.Errorf("%w: %d are allowed", ErrTooManyRooms, s.hub.o.MaxRoomsPerSubscriber)
}

// open opens a room and finds out where reading starts. The room is acquired.
func (s *Subscriber) open(ctx context.Context, sub Subscription) (*membership, error) {
	r, err := s.hub.acquire(ctx, sub.Room)
	if err != nil {
		return nil, err
	}
	m := &membership{sub: s, room: r, presence: sub.Presence}
	switch st := sub.Start; {
	case st.Kind == StartAfter:
		m.pos, m.mark = st.At.Position, st.At.Mark
		return m, nil
	case st.Kind == StartOldest, st.Kind == StartLast && st.N > 0:
		if m.pos, err = s.hub.startAt(ctx, sub); err != nil {
			s.hub.release(r)
			return nil, err
		}
		return m, nil
	}
	// Now: the place is taken when the member joins.
	r.mu.Lock()
	m.pos, m.seq, m.live, m.attached = r.log.head, r.log.next, r.log.next, true
	r.mu.Unlock()
	return m, nil
}

// startAt is the position before the message with which reading starts.
func (h *Hub) startAt(ctx context.Context, sub Subscription) (Position, error) {
	r := ReadRequest{Room: sub.Room, Mode: ReadOldest, Limit: 1}
	if sub.Start.Kind == StartLast {
		// One more than asked for: the place before a message is that of the
		// one before it.
		r.Mode, r.Limit = ReadLatest, sub.Start.N+1
	}
	page, err := h.store.Read(ctx, r)
	if err != nil {
		return Position{}, err
	}
	if sub.Start.Kind == StartLast && len(page.Messages) == r.Limit {
		return page.Messages[0].Position(), nil
	}
	return page.Floor, nil
}

// joinLocked makes a membership effective.
func (s *Subscriber) joinLocked(m *membership) {
	s.members = append(s.members, m)
	m.room.mu.Lock()
	if !m.attached {
		// However long it takes to catch up, what has no offset and comes from
		// now on is for this reader.
		m.live = m.room.log.next
	}
	m.room.joinLocked(m)
	m.room.mu.Unlock()
	s.wantLocked(m)
	if s.client != "" {
		s.hub.presence.join(m.room.name, s.client, s.from)
	}
}

// Unsubscribe leaves rooms, all or none of them, and returns where they stood.
// The error wraps ErrNotSubscribed.
func (s *Subscriber) Unsubscribe(rooms []string) (Cursor, error) {
	var c Cursor
	err := s.UnsubscribeThen(rooms, func(at Cursor) []byte { c = at; return nil })
	return c, err
}

// UnsubscribeThen leaves rooms and queues the frame that then makes of where
// they stood: nothing of these rooms goes out after it.
func (s *Subscriber) UnsubscribeThen(rooms []string, then func(Cursor) []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		return ErrClosed
	}
	for _, room := range rooms {
		if s.findLocked(room) == nil {
			return fmt.Errorf("%w: %s", ErrNotSubscribed, room)
		}
	}
	c := make(Cursor, 0, len(rooms))
	for _, room := range rooms {
		m := s.findLocked(room)
		if m == nil {
			continue // named twice
		}
		c = append(c, RoomPosition{Room: room, Position: m.pos})
		for i := range s.members {
			if s.members[i] == m {
				s.members = append(s.members[:i:i], s.members[i+1:]...)
				break
			}
		}
		s.leaveLocked(m)
	}
	if frame := then(c); len(frame) > 0 {
		s.sendLocked(frame)
	}
	s.kickLocked(nil)
	return nil
}
