package hub

import (
	"context"
	"time"
)

// Store keeps each room's order and history, idempotency keys and presence
// leases, and carries messages between nodes. It is the truth: a hub's logs
// are copies of its newest part.
//
// The laws every implementation obeys are the suite store/storetest. In short:
//
//   - The messages of a room have one epoch and the offsets 1, 2, 3, … without
//     holes. A new epoch begins only where the history was lost; epochs of a
//     room sort by their birth.
//   - A publish with a key takes effect at most once while the key lives.
//   - Read never skips silently: what is missing between the position asked
//     for and the first message returned is told as Page.Gap.
//
// All methods are safe for concurrent use and return soon after their context
// ends. After Close they return ErrClosed.
type Store interface {
	// Publish applies the batch in order and returns one result per element,
	// in the batch's order. The slice stays the caller's, what its elements
	// point to (Data) becomes the store's. Elements are independent: one that fails does not
	// stop the next. Two elements with the same key behave as two calls.
	//
	// Result.Err is nil or wraps ErrKeyConflict, ErrKeyInProgress,
	// ErrKeysFull, ErrTooLarge, ErrUnavailable, ErrOutcomeUnknown or
	// ErrClosed. A context that ends before the element was applied gives
	// ErrUnavailable, one that ends while that is unknown ErrOutcomeUnknown.
	Publish(ctx context.Context, batch []Publish) []Result

	// Read returns one page of a room's history. A room that does not exist
	// is an empty page with a zero Head. The error is nil or wraps
	// ErrUnavailable, ErrBehind, ErrClosed or the context's error.
	Read(ctx context.Context, r ReadRequest) (Page, error)

	// Heads returns the newest position of each room, zero for a room without
	// one, and tells the store that the rooms have readers (a store may renew
	// the life of a room's position; it does not renew its messages). Errors
	// as Read.
	Heads(ctx context.Context, rooms []string) ([]Position, error)

	// Watch calls w with what happens in the room from now on: what is
	// published after Watch has returned is delivered, or questioned by
	// Resync; neither twice nor out of order matters, the hub sorts it out.
	// stop ends it and does not wait for calls of w under way.
	// The store may call w with its own locks held, and w never calls back;
	// stop waits for none of these locks. ctx bounds the call of Watch alone.
	Watch(ctx context.Context, room string, w Watcher) (stop func(), err error)

	// Renew takes or prolongs leases; of a lease that is new to its room, and
	// of expired ones that it finds, watchers of the room are told.
	Renew(ctx context.Context, leases []Lease) error
	// Release ends leases before their time. Unknown ones are ignored.
	Release(ctx context.Context, leases []Lease) error
	// Present lists who holds an unexpired lease in the room, by time of
	// joining, at most limit members; Count is the number of all.
	Present(ctx context.Context, room string, limit int) (Presence, error)

	// Ping is nil while the store answers and could take a publish.
	Ping(ctx context.Context) error
	// Close frees everything. Calls under way return; later ones get ErrClosed.
	Close() error
}

// Watcher hears what happens in rooms. Its methods return at once and never
// call the store. Slices passed to it are the watcher's to keep.
type Watcher interface {
	// Messages were published, in order of offset; ephemeral ones among them.
	Messages(room string, msgs []*Message)
	// Presence changed.
	Presence(room string, events []PresenceEvent)
	// Resync says that something may have been missed (a connection to the
	// store broke): the hub compares heads. An empty room means every room.
	// After a break it comes before anything that is delivered since: the
	// other side may have lost messages and given their offsets to others.
	Resync(room string)
}

// Publish is one message to be published.
type Publish struct {
	Room string
	// ID becomes Message.ID. The hub makes it.
	ID   string
	From string
	// Data is compact valid JSON.
	Data []byte
	// Ephemeral messages reach who is connected now: no offset, no history.
	// A key deduplicates them all the same (Result.Position is zero).
	Ephemeral bool

	// Key is the idempotency key, "" for none. It belongs to Room and Subject.
	Key     string
	Subject string
	// KeyTTL is how long the key is kept, from the publish.
	KeyTTL time.Duration
	// Fingerprint is of the content as the client sent it.
	Fingerprint Fingerprint
}

// Fingerprint is the first 128 bits of a SHA-256.
type Fingerprint [16]byte

// Result is what became of one Publish.
type Result struct {
	Position Position
	// Time is the message's time, in Unix milliseconds.
	Time int64
	// Duplicate: the key had been used for the same content; Position and Time
	// are those of the first publish, and nothing was published now.
	Duplicate bool
	Err       error
}

// ReadMode says from where and in which direction a page is read.
type ReadMode int

// The modes of a read. Messages in a page ascend by offset in all of them.
const (
	// ReadAfter: the messages following From, the oldest first in line.
	ReadAfter ReadMode = iota
	// ReadBefore: the messages directly before From (without the one at From),
	// the newest of them. A zero From gives an empty page.
	ReadBefore
	// ReadOldest: the first messages that the history still has.
	ReadOldest
	// ReadLatest: the newest messages.
	ReadLatest
)

// ReadRequest asks for a page of a room's history.
type ReadRequest struct {
	Room string
	Mode ReadMode
	// From is used by ReadAfter and ReadBefore.
	From Position
	// Limit is the most messages to return, at least 1.
	Limit int
	// Bytes bounds the sum of the messages' data, 0 for none; the first
	// message is returned in any case.
	Bytes int
}

// Page is a part of a room's history.
type Page struct {
	Messages []*Message
	// Gap is set where the messages do not directly follow (or precede) From:
	//   - From was evicted: To is Floor.
	//   - From is of another epoch, or the room no longer exists: GapLost, To
	//     is Floor (zero where there is none).
	//   - From is past Head in its epoch: GapLost, To is Head.
	//   - another message is at From: GapFork, To is that message's position.
	//   - From is at the floor's offset with another id: GapFork, To is Floor.
	// A read with a Gap goes on as if it had asked From = Gap.To.
	Gap *Gap
	// Head is the newest position of the room, and Floor that of the newest
	// message that has left the history (zero if none has).
	Head, Floor Position
	// More says that in the direction of reading there is more.
	More bool
}

// Lease is one client's presence in a room, held for it by one node.
type Lease struct {
	Room   string
	Client string
	// Holder is the node. A client is present while any holder's lease lives.
	Holder string
	// From is the client's subject, "" when unknown.
	From string
	// TTL from now on, by the store's clock. A shorter one than before shortens.
	TTL time.Duration
}

// Member is somebody present in a room.
type Member struct {
	Client string
	From   string
	// Since is the time of joining in Unix milliseconds.
	Since int64
}

// Presence is who is in a room.
type Presence struct {
	Members []Member
	Count   int
}

// PresenceEvent is a client's first lease in a room, or the end of its last.
type PresenceEvent struct {
	Room   string
	Join   bool
	Member Member
	// Count is the number of clients present after the event.
	Count int
	// Time is when, in Unix milliseconds of the store.
	Time int64
}
