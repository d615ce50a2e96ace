// Package parse reads what a server sends to the readers of a room: HTTP
// answers, chunked bodies, WebSocket frames, server-sent events, lines, polls
// and envelopes. Each parser takes bytes as they arrive, in pieces of any size,
// keeps what is incomplete and copies nothing else, so that one core can follow
// many thousands of connections.
//
// Parsers trust the peer more than a client should: they find where things
// begin and end, and do not validate what is between. What they cannot read is
// an error, never a guess.
package parse

import "errors"

// Limit is the most bytes that one unit (a head, a frame, an event, a line) may
// have: a message of a megabyte and its envelope.
const Limit = 4 << 20

// Errors of what the peer sent.
var (
	ErrTooLong  = errors.New("longer than 4 MiB")
	ErrHead     = errors.New("not an HTTP/1 answer")
	ErrChunk    = errors.New("not a chunked body")
	ErrFrame    = errors.New("not a WebSocket frame of a server")
	ErrEnvelope = errors.New("not a JSON object")
)

// pending is the incomplete end of what has arrived.
type pending struct{ rest []byte }

// join returns what is to be parsed now that p has come.
func (b *pending) join(p []byte) []byte {
	if len(b.rest) == 0 {
		return p
	}
	b.rest = append(b.rest, p...)
	return b.rest
}

// keep remembers the incomplete end. It may be a part of what join returned.
func (b *pending) keep(p []byte) error {
	if len(p) > Limit {
		return ErrTooLong
	}
	if len(p) == 0 && cap(b.rest) > 4<<10 {
		b.rest = nil // one long unit is no reason to hold its memory
		return nil
	}
	b.rest = append(b.rest[:0], p...)
	return nil
}
