package hub

import "time"

// Conn is a subscriber's connection after its handshake: a place for bytes.
//
// TryWrite, Write and SetWriteDeadline are called by one goroutine at a time,
// the subscriber's owner. Close may be called from anywhere, at any time and
// more than once; it makes a Write under way return.
type Conn interface {
	// TryWrite writes what the connection takes at once and never blocks.
	// Fewer bytes than len(p) with a nil error mean that it would block. An
	// implementation that cannot tell returns 0, nil: the writer that is
	// started on demand does the work then.
	TryWrite(p []byte) (n int, err error)
	// Write blocks until all of p is written, the deadline passes or Close.
	Write(p []byte) (n int, err error)
	SetWriteDeadline(t time.Time) error
	Close() error
}

// Nearer is a Conn or a Waiter whose memory can be asked for a little before it
// is written to or answered. With thousands of connections it is in no cache by
// then, and for several that are asked for together it comes in about the time
// of one.
type Nearer interface {
	// Near reads what TryWrite or Answer will look at, and nothing that needs a
	// lock. It may be called at any time, by several goroutines at once.
	Near()
}

// EventKind says which field of an Event is set.
type EventKind uint8

// The kinds of events in a room's log.
const (
	EventMessage EventKind = iota + 1
	EventPresence
	EventGap
)

// Event is one entry of a room's log. It is immutable.
type Event struct {
	Kind EventKind
	Room string
	// At is the place in the room's order after this event: a message's own
	// position, a gap's To, and the room's newest position for what has none.
	At Position
	// Time is when it came about, in Unix milliseconds.
	Time     int64
	Message  *Message
	Presence *PresenceEvent
	Gap      *Gap
}

// End is why and how a subscriber's connection is ended by the server.
type End struct {
	// Code is a code of the registry (transport/codes). It is empty when the
	// client left or the connection broke: nothing is written then.
	Code    string
	Message string
	// After is how long the client should wait before it comes back.
	After time.Duration
}

// The codes with which the hub itself ends a connection.
const (
	EndDraining = "draining"
	EndSlow     = "slow"
	EndGap      = "gap"
	EndBehind   = "behind"
)

// Framing turns events into the bytes of one wire form. It is stateless and
// shared by all subscribers of that form.
type Framing interface {
	// Append appends the wire form of ev. It is called once per event; the
	// bytes are shared between subscribers. Nothing appended means that this
	// form does not show the event.
	Append(dst []byte, ev *Event) []byte
	// CursorInFrame says that a frame names the connection's cursor. With one
	// room Append knows it; with several, AppendWithCursor puts the cursor of
	// all rooms in.
	CursorInFrame() bool
	// AppendWithCursor appends the frame that Append made for one room, with
	// the given cursor in place of that room's own.
	AppendWithCursor(dst, wire, cursor []byte) []byte
	// AppendHeartbeat appends what shows a silent connection to be alive.
	AppendHeartbeat(dst []byte, unixMilli int64, cursor []byte) []byte
	// AppendEnd appends the connection's last bytes.
	AppendEnd(dst []byte, end End, cursor []byte) []byte
}

// sharedFraming is a Framing whose frames cost more to make than one reader's
// sake is worth. What a reader gets from the store by itself is in the form of
// ForOne, which its client takes as well.
type sharedFraming interface {
	Framing
	ForOne() Framing
}
