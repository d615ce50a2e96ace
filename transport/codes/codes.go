// Package codes is the one registry of Culvert's error codes: what each is
// called on the wire, its HTTP status, the WebSocket close code where it ends
// a connection, and how a client reconnects after it. The registry itself is
// codes.json; Go, Markdown and TypeScript are generated from it.
//
// Inside, Culvert uses sentinel errors (package hub). Transports turn them
// into an Error at the edge, with From.
package codes

//go:generate go run ./gen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/culvertd/culvert/hub"
)

// Code is the stable name of an error on the wire.
type Code string

// Reconnect says how a client goes on after an error or close.
type Reconnect string

// The policies. Each close code lies in the range of its policy (PROTOCOL.md,
// section 14), so that an old client obeys a new code.
const (
	// Now: at once, from the cursor.
	Now Reconnect = "now"
	// Backoff: after a back-off with full jitter, from the cursor.
	Backoff Reconnect = "backoff"
	// Never: the same request would fail again.
	Never Reconnect = "never"
)

// Info is what the registry says of a code.
type Info struct {
	Code Code
	// HTTP is the status of an answer, 0 for a code that HTTP never answers.
	HTTP int
	// Close is the WebSocket close code, 0 for a code that closes nothing.
	Close     int
	Reconnect Reconnect
	// MayHaveHappened: a publish that was answered with it may have taken
	// effect. After every other code it has not.
	MayHaveHappened bool
	// RetryAfter is the usual wait before the next attempt, 0 for none.
	RetryAfter time.Duration
	// Allowed is what is allowed where that never varies, "" otherwise.
	Allowed string
}

// Lookup returns what the registry says of a code; ok is false for a code that
// it does not have, and the answer is then that of Internal.
func Lookup(c Code) (info Info, ok bool) {
	if info, ok = lookup(c); !ok {
		info, _ = lookup(Internal)
	}
	return info, ok
}

// Error is an error as a client sees it. Its texts are shown to clients: they
// never hold secrets, addresses or the text of an unexpected error.
type Error struct {
	Code    Code
	Message string
	// Allowed says what would have been right, "" where that does not help.
	Allowed string
	// Room is the one of several rooms that is refused, "" where it is not one:
	// the same request without it may succeed.
	Room string
	// RetryAfter is how long the client should wait, 0 for the client's choice.
	RetryAfter time.Duration
}

// New makes an Error with the registry's Allowed and RetryAfter.
func New(c Code, message string) *Error {
	info, _ := Lookup(c)
	return &Error{Code: c, Message: message, Allowed: info.Allowed, RetryAfter: info.RetryAfter}
}

// Newf is New with a format.
func Newf(c Code, format string, args ...any) *Error {
	return New(c, fmt.Sprintf(format, args...))
}

// WithAllowed sets what would have been right, and returns e.
func (e *Error) WithAllowed(allowed string) *Error {
	e.Allowed = allowed
	return e
}

// WithRoom sets the room that is refused, and returns e.
func (e *Error) WithRoom(room string) *Error {
	e.Room = room
	return e
}

// Error is the code and the message.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// HTTPStatus is the status of an answer with this error; 500 for a code that
// is not for HTTP.
func (e *Error) HTTPStatus() int {
	info, _ := Lookup(e.Code)
	if info.HTTP == 0 {
		return http.StatusInternalServerError
	}
	return info.HTTP
}

// CloseCode is the WebSocket close code where this error ends a connection: a
// refusal at the handshake, a bye. For a code without one it is the general
// code of its policy.
func (e *Error) CloseCode() int {
	info, _ := Lookup(e.Code)
	switch {
	case info.Close != 0:
		return info.Close
	case info.Reconnect == Now:
		return closeNow
	case info.Reconnect == Never:
		return closeNever
	}
	return closeBackoff
}

// The close codes of errors that have none of their own.
const (
	closeNow     = 4000
	closeBackoff = 4199
	closeNever   = 4400
)

// AppendJSON appends the error object:
// {"code","message","allowed","room","retry_after_ms"}, the last three where
// set.
func (e *Error) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"code":`...)
	dst = appendString(dst, string(e.Code))
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, e.Message)
	if e.Allowed != "" {
		dst = append(dst, `,"allowed":`...)
		dst = appendString(dst, e.Allowed)
	}
	if e.Room != "" {
		dst = append(dst, `,"room":`...)
		dst = appendString(dst, e.Room)
	}
	if e.RetryAfter > 0 {
		dst = append(dst, `,"retry_after_ms":`...)
		dst = strconv.AppendInt(dst, e.RetryAfter.Milliseconds(), 10)
	}
	return append(dst, '}')
}

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil { // A string always marshals.
		return append(dst, `""`...)
	}
	return append(dst, text...)
}

// Mark is the field with which JSON answers begin, so that a client can tell
// them from what a gateway says, who has errors and statuses of its own.
const Mark = `"protocol":1,`

// AppendBody appends the body of an HTTP answer with this error.
func (e *Error) AppendBody(dst []byte) []byte {
	dst = append(dst, "{"+Mark+`"error":`...)
	dst = e.AppendJSON(dst)
	return append(dst, '}', '\n')
}

// WriteHTTP answers a request with the error: status, body, and Retry-After
// where the error has a wait. Nothing may have been written to w.
func (e *Error) WriteHTTP(w http.ResponseWriter) {
	body := e.AppendBody(nil)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	if e.RetryAfter > 0 {
		// Retry-After counts whole seconds: never sooner than meant.
		h.Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	w.WriteHeader(e.HTTPStatus())
	_, _ = w.Write(body) // The client may be gone; nobody is left to tell.
}

// From turns any error into one for clients: the sentinel errors of package
// hub and an *Error anywhere in the chain into their codes, and everything
// else into Internal without its text. nil stays nil. Faulty says whether the
// original should be logged.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	switch {
	// A bad room inside a cursor is a bad cursor: this order matters.
	case errors.Is(err, hub.ErrBadCursor):
		e = New(BadCursor, err.Error())
		if room, ok := errors.AsType[*hub.RoomError](err); ok {
			e.Room = room.Room
		}
		return e
	case errors.Is(err, hub.ErrBadRoom):
		return New(BadRoom, err.Error())
	case errors.Is(err, hub.ErrTooManyRooms):
		return New(TooManyRooms, err.Error())
	case errors.Is(err, hub.ErrNotSubscribed):
		return New(NotSubscribed, err.Error())
	case errors.Is(err, hub.ErrTooLarge):
		return New(MessageTooLarge, "the message is larger than what may be kept of a room")
	case errors.Is(err, hub.ErrKeyConflict):
		return New(KeyConflict, "this idempotency key was used with other content")
	case errors.Is(err, hub.ErrKeyInProgress):
		return New(KeyInProgress, "a publish with the same idempotency key is in progress")
	case errors.Is(err, hub.ErrKeysFull):
		return New(KeysFull, "no more idempotency keys can be kept now; nothing was published")
	// What is unknown stays so, whatever else the chain says.
	case errors.Is(err, hub.ErrOutcomeUnknown):
		return New(OutcomeUnknown, "the publish may or may not have taken effect; repeat it with the same idempotency key")
	case errors.Is(err, hub.ErrDraining), errors.Is(err, hub.ErrClosed):
		return New(Draining, "this node is shutting down")
	case errors.Is(err, hub.ErrTooManySubscribers):
		return New(TooManyConnections, "this node has as many connections as it may have")
	case errors.Is(err, hub.ErrBehind):
		return New(Behind, "this node does not see yet what the cursor names; ask again")
	case errors.Is(err, hub.ErrUnavailable):
		return New(StoreUnavailable, "the store cannot be asked now")
	case errors.Is(err, context.DeadlineExceeded):
		return New(StoreUnavailable, "the store did not answer in time")
	case errors.Is(err, context.Canceled):
		return New(RequestTimeout, "the request was given up")
	}
	return New(Internal, "internal error")
}

// Faulty reports whether an error made by From is the server's own fault and
// worth a line in its log: not a client's doing, and not the ordinary end of a
// node.
func (e *Error) Faulty() bool {
	switch e.Code {
	case Internal, StoreUnavailable, OutcomeUnknown, KeysFull:
		return true
	}
	return false
}
