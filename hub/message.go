package hub

// Message is one message of a room. It is immutable once a store has handed it
// out: stores, logs and connections share the same value.
type Message struct {
	Room string
	// Epoch and Offset are the message's place in its room's one order.
	// An ephemeral message has neither ("" and 0).
	Epoch  string
	Offset uint64
	// ID is random (51 bits, 10 characters of 0-9a-z). It tells two messages
	// apart that got the same epoch and offset on two sides of a failover.
	ID string
	// Time is when the store took the message, in Unix milliseconds.
	Time int64
	// From names who published it, "" when that is unknown.
	From string
	// Data is compact valid JSON.
	Data []byte
}

// Ephemeral reports whether the message is outside the room's history.
func (m *Message) Ephemeral() bool { return m.Offset == 0 }

// Position is the place directly after the message. It is zero for an
// ephemeral message.
func (m *Message) Position() Position {
	if m.Ephemeral() {
		return Position{}
	}
	return Position{Epoch: m.Epoch, Offset: m.Offset, ID: m.ID}
}

// Size is what the message counts for in every bound on memory: its data and
// names, and a fixed 128 bytes for the structures around them.
func (m *Message) Size() int {
	return len(m.Data) + len(m.Room) + len(m.From) + 128
}

// GapReason says why messages between two positions cannot be delivered.
type GapReason string

// The reasons of a gap.
const (
	// GapEvicted: the messages were there and have left the history (by
	// count, bytes, age or the total memory bound).
	GapEvicted GapReason = "evicted"
	// GapLost: the history the position belongs to no longer exists (another
	// epoch), or it ends before the position (the store lost its newest part).
	GapLost GapReason = "lost"
	// GapFork: another message now has the position's epoch and offset.
	GapFork GapReason = "fork"
)

// Gap tells that what lies between two positions cannot be delivered.
type Gap struct {
	Room   string
	Reason GapReason
	// From is the last position that was delivered or asked for.
	From Position
	// To is the position after which delivery goes on.
	To Position
}

// Missed is the number of messages in the gap, or 0 where it is unknown
// (the two positions are of different epochs, or of different branches).
func (g *Gap) Missed() uint64 {
	if g.Reason == GapEvicted && (g.From.Epoch == g.To.Epoch || g.From.IsZero()) && g.To.Offset > g.From.Offset {
		return g.To.Offset - g.From.Offset
	}
	return 0
}
