package hub

import "errors"

// What a caller can have done wrong.
var (
	ErrBadRoom   = errors.New("bad room name")
	ErrBadCursor = errors.New("bad cursor")
	// ErrTooManyRooms: a reader wants more rooms than Options.MaxRoomsPerReader.
	ErrTooManyRooms = errors.New("too many rooms on one connection")
	// ErrNotSubscribed: the connection does not read the room it wants to leave.
	ErrNotSubscribed = errors.New("not subscribed to this room")
	// ErrTooLarge: a message is larger than what the store may hold for a room.
	ErrTooLarge = errors.New("message too large")
)

// RoomError says which of several rooms an error is about: the others could be
// read without it.
type RoomError struct {
	Room string
	Err  error
}

// Error is the text of the error itself.
func (e *RoomError) Error() string { return e.Err.Error() }

// Unwrap is the error itself.
func (e *RoomError) Unwrap() error { return e.Err }

// What a store answers to a publish that did not take effect as asked.
var (
	// ErrKeyConflict: the idempotency key was used for other content.
	ErrKeyConflict = errors.New("idempotency key was used with other content")
	// ErrKeyInProgress: a publish with the same key is under way.
	ErrKeyInProgress = errors.New("a publish with the same idempotency key is in progress")
	// ErrKeysFull: no more keys can be kept; the publish was not applied. A key
	// is never evicted before its time.
	ErrKeysFull = errors.New("no room for another idempotency key")
)

// What a store answers when it cannot do its work.
var (
	// ErrUnavailable: the store cannot be asked now. A publish that fails with
	// it was certainly not applied.
	ErrUnavailable = errors.New("store unavailable")
	// ErrOutcomeUnknown: the publish may or may not have been applied.
	// Repeating it with the same key is safe.
	ErrOutcomeUnknown = errors.New("outcome of the publish is unknown")
	// ErrBehind: the store has not yet reached the position; the same read
	// will succeed, or tell a gap, within 30 s.
	ErrBehind = errors.New("store is behind the cursor")
	// ErrClosed: the hub or the store was closed.
	ErrClosed = errors.New("closed")
)

// What the hub answers to a reader it does not take.
var (
	// ErrDraining: this node is shutting down; another one will serve.
	ErrDraining = errors.New("the node is draining")
	// ErrTooManySubscribers: Options.MaxSubscribers are connected.
	ErrTooManySubscribers = errors.New("too many connections")
)
