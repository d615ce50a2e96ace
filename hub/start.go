package hub

// StartKind says where reading of a room begins.
type StartKind uint8

// The kinds of a Start.
const (
	// StartNow: with what is published from now on.
	StartNow StartKind = iota
	// StartAfter: after the position Start.At.
	StartAfter
	// StartLast: with the newest Start.N messages.
	StartLast
	// StartOldest: with the oldest message that is still there.
	StartOldest
)

// Start is where reading of a room begins.
type Start struct {
	Kind StartKind
	// At is used by StartAfter.
	At RoomPosition
	// N is used by StartLast; 0 is the same as StartNow.
	N int
}

// Subscription is one room that a reader wants.
type Subscription struct {
	Room  string
	Start Start
	// Presence asks for presence events of the room as well.
	Presence bool
}
