package hub

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Subscriber is one connection that reads one or more rooms. It has no queue of
// messages: for each room it has a cursor into the room's log.
//
// Who writes to the connection is its owner. Without one, whoever holds mu may
// write without blocking (a delivery worker, a sender of a reply). Where the
// connection does not take everything, a pump goroutine becomes the owner,
// writes on, and gives the subscriber back when nothing is left.
type Subscriber struct {
	// What every delivery looks at comes first, in as few cache lines as can be:
	// with thousands of subscribers each line costs more than what is done with it.

	mu sync.Mutex // before a room's mu
	// guarded by mu
	held       bool // until Start nobody writes
	pumping    bool // a pump owns the connection
	beat       bool // a heartbeat is due
	finished   bool
	retrying   bool  // the tick will look again, for a store that failed
	collecting bool  // somebody puts a parked poll's answer together
	endOnGap   bool  // set once
	form       uint8 // set once
	pending    int32 // members with something to look at
	place      int32 // among all, guarded by the hub
	end        *End
	near       Nearer  // conn or a seat's waiter, if it is one; set once
	conn       Conn    // nil for a poll; set once
	framing    Framing // set once
	wrote      int64   // hub.coarse at the last write
	hub        *Hub    // set once
	members    []*membership
	rest       []byte   // what the connection did not take; goes out first
	own        [][]byte // private frames: hello, replies
	waiter     Waiter   // of a parked poll, until it is answered

	// guarded by mu
	ownBytes int
	space    chan struct{}      // closed when own has been taken; nil if nobody waits
	ending   chan struct{}      // closed by End; nil if nobody waits
	done     chan struct{}      // closed when it has left every room; nil if nobody waits
	reading  context.CancelFunc // ends the pump's read of the store, if one is under way
	request  *PollRequest       // of a parked poll
	overdue  *PollResult        // what to answer when there is nothing, and it is time

	// set once
	transport string
	client    string
	from      string
	heartbeat time.Duration
	turn      func(now time.Time)
	wake      chan struct{} // polls only: something may have come

	wheel wheelPlace // guarded by the wheel
}

// membership is one subscriber's place in one room.
type membership struct {
	sub *Subscriber // set once

	// guarded by sub.mu
	seq      uint64 // next log entry to deliver, where attached
	live     uint64 // events without an offset before this entry are not for this reader
	attached bool   // seq is valid; else pos is looked for in log and store
	pending  bool
	presence bool
	gone     bool
	pos      Position
	mark     string    // a poll's mark, until the place is found
	retryAt  time.Time // not before then is the store asked again

	room  *room // set once
	index int   // in room.members, guarded by room.mu
}

// SubscriberOptions describe a connection.
type SubscriberOptions struct {
	Conn Conn
	Form int
	// Transport groups connections in Stats: "ws", "sse", "ndjson".
	Transport string
	// Client is the name under which presence counts; "" is not counted.
	Client string
	// From is the subject of the client, "" if unknown.
	From string
	// Heartbeat, up to 60 s, in whole seconds; 0 is the hub's.
	Heartbeat time.Duration
	// EndOnGap ends the connection with EndGap where a gap would be told, for
	// forms that cannot tell it.
	EndOnGap bool
	// Turn, if set, is called about once in each heartbeat's time, whether or
	// not one was due, for what the connection itself has to look after (has
	// its peer shown a sign of life?). It must not block.
	Turn func(now time.Time)
}

// maxOwnBytes bounds private frames that wait: a client whose replies are not
// read is not answered further.
const maxOwnBytes = 256 << 10

// NewSubscriber takes a connection. It belongs to the caller, who must End it,
// and nothing is delivered until Start. The error is ErrDraining, ErrClosed or
// ErrTooManySubscribers; the connection is the caller's then.
func (h *Hub) NewSubscriber(o SubscriberOptions) (*Subscriber, error) {
	s := &Subscriber{
		conn: o.Conn, form: uint8(o.Form), framing: h.o.Framings[o.Form], transport: o.Transport,
		client: o.Client, from: o.From, heartbeat: o.Heartbeat, endOnGap: o.EndOnGap, turn: o.Turn, held: true,
		hub: h,
	}
	s.near, _ = o.Conn.(Nearer)
	if s.heartbeat <= 0 {
		s.heartbeat = h.o.Heartbeat
	}
	s.heartbeat = min(max(s.heartbeat, time.Second), maxHeartbeat)
	if err := h.admit(s); err != nil {
		return nil, err
	}
	h.wheel.add(s, s.heartbeat)
	return s, nil
}

// Start hands the connection to the hub: delivery begins.
func (s *Subscriber) Start() {
	s.mu.Lock()
	s.held = false
	s.wrote = s.hub.coarse.Load()
	s.kickLocked(nil)
	s.mu.Unlock()
}

// Send queues a private frame. It goes out between two frames, before whatever
// is delivered later. Send waits while 256 KiB are pending. The error is
// ErrClosed or the context's.
func (s *Subscriber) Send(ctx context.Context, frame []byte) error {
	for {
		s.mu.Lock()
		if s.end != nil {
			s.mu.Unlock()
			return ErrClosed
		}
		if s.ownBytes == 0 || s.ownBytes+len(frame) <= maxOwnBytes {
			s.sendLocked(frame)
			s.kickLocked(nil)
			s.mu.Unlock()
			return nil
		}
		if s.space == nil {
			s.space = make(chan struct{})
		}
		if s.ending == nil {
			s.ending = make(chan struct{})
		}
		space, ending := s.space, s.ending
		s.mu.Unlock()
		select {
		case <-space:
		case <-ending:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TrySend is Send without waiting: false means that the frame was not taken,
// because too much is pending or the connection has ended.
func (s *Subscriber) TrySend(frame []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil || (s.ownBytes > 0 && s.ownBytes+len(frame) > maxOwnBytes) {
		return false
	}
	s.sendLocked(frame)
	s.kickLocked(nil)
	return true
}

func (s *Subscriber) sendLocked(frame []byte) {
	s.own = append(s.own, frame)
	s.ownBytes += len(frame)
}

// End ends the connection: e's last words are written, within a bounded time,
// and the connection is closed. The first End wins. It does not wait: see Done.
func (s *Subscriber) End(e End) {
	s.mu.Lock()
	s.endLocked(e)
	s.mu.Unlock()
}

// silent is the end that says nothing, of most: those of polls among them.
var silent End

func (s *Subscriber) endLocked(e End) {
	if s.end != nil {
		return
	}
	if s.end = &silent; e != silent {
		s.end = new(e)
	}
	if s.ending != nil {
		close(s.ending)
	}
	if s.reading != nil {
		s.reading()
	}
	switch {
	case s.conn == nil:
		s.finishLocked()
		if w := s.takeWaiterLocked(); w != nil {
			// Given up. Whoever ends it may hold locks that Answer needs.
			s.hub.wg.Go(func() { w.Answer(PollResult{}, ErrClosed) })
		}
		return
	case e.Code == "":
		// Nothing to say: whoever is writing is cut off.
		s.conn.Close()
	default:
		// A writer that is stuck gets this long for what it has and the end.
		time.AfterFunc(s.hub.o.EndTimeout, func() { s.conn.Close() })
	}
	s.pumpLocked()
}

// Done is closed when everything has been written that will be, and the
// subscriber has left its rooms.
func (s *Subscriber) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
		if s.finished {
			close(s.done)
		}
	}
	return s.done
}

// Ended tells how it ended; only after Done.
func (s *Subscriber) Ended() End {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end == nil {
		return End{}
	}
	return *s.end
}

// Rooms are the rooms that are read now.
func (s *Subscriber) Rooms() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	rooms := make([]string, len(s.members))
	for i, m := range s.members {
		rooms[i] = m.room.name
	}
	return rooms
}

// Cursor is where the connection stands: after everything that has been given
// to it to write.
func (s *Subscriber) Cursor() Cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursorLocked()
}

func (s *Subscriber) cursorLocked() Cursor {
	c := make(Cursor, len(s.members))
	for i, m := range s.members {
		c[i] = RoomPosition{Room: m.room.name, Position: m.pos}
	}
	return c
}

func (s *Subscriber) appendCursorLocked(dst []byte) []byte {
	for i, m := range s.members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, m.room.name...)
		dst = append(dst, '=')
		dst = m.pos.append(dst)
	}
	return dst
}

func (s *Subscriber) findLocked(room string) *membership {
	i := slices.IndexFunc(s.members, func(m *membership) bool { return m.room.name == room })
	if i < 0 {
		return nil
	}
	return s.members[i]
}

// finishLocked takes the subscriber out of everything. The connection is
// closed already, or about to be by the caller.
func (s *Subscriber) finishLocked() {
	if s.finished {
		return
	}
	s.finished = true
	for _, m := range s.members {
		s.leaveLocked(m)
	}
	s.members, s.pending = nil, 0
	s.own, s.ownBytes = nil, 0
	s.keepLocked(nil)
	s.hub.wheel.remove(s)
	s.hub.dismiss(s)
	if s.done != nil {
		close(s.done)
	}
}

// leaveLocked takes one membership out of its room.
func (s *Subscriber) leaveLocked(m *membership) {
	m.gone = true
	if m.pending {
		m.pending = false
		s.pending--
	}
	m.room.mu.Lock()
	m.room.leaveLocked(m)
	m.room.mu.Unlock()
	s.hub.release(m.room)
	if s.client != "" {
		grace := s.hub.o.PresenceGrace
		if s.conn == nil {
			grace = s.hub.o.PollGrace
		}
		s.hub.presence.leave(m.room.name, s.client, grace)
	}
}
