// Code generated from codes.json by go generate. DO NOT EDIT.

package codes

import "time"

// What the request says.
const (
	// BadRoom: A room name is not valid.
	BadRoom Code = "bad_room"
	// BadCursor: A cursor, position or Last-Event-ID is not understood. It is never taken for "now".
	BadCursor Code = "bad_cursor"
	// BadParameter: A parameter has a value that is not allowed; the error says which.
	BadParameter Code = "bad_parameter"
	// TooManyRooms: More rooms than one reader may have.
	TooManyRooms Code = "too_many_rooms"
	// BadJSON: A body, command or field is not the JSON that is expected.
	BadJSON Code = "bad_json"
	// BadUTF8: Text is not UTF-8.
	BadUTF8 Code = "bad_utf8"
	// BadBody: The body could not be read as it was announced (cut short, or broken chunks).
	BadBody Code = "bad_body"
	// EmptyBody: A publish without a body.
	EmptyBody Code = "empty_body"
	// BadKey: An idempotency key is not valid.
	BadKey Code = "bad_key"
	// MessageTooLarge: One message is larger than the limit.
	MessageTooLarge Code = "message_too_large"
	// BodyTooLarge: A request's body is larger than the limit. Fewer messages at a time may pass.
	BodyTooLarge Code = "body_too_large"
	// BatchTooLarge: More messages in one request or command than the limit.
	BatchTooLarge Code = "batch_too_large"
	// UnsupportedEncoding: Content-Encoding is not accepted.
	UnsupportedEncoding Code = "unsupported_encoding"
	// UnsupportedType: The Content-Type is not one that this address understands.
	UnsupportedType Code = "unsupported_type"
	// UnsupportedMethod: The address exists, but not for this method; Allow names those it has.
	UnsupportedMethod Code = "unsupported_method"
	// NotFound: There is nothing at this address.
	NotFound Code = "not_found"
	// UpgradeRequired: This address speaks WebSocket only, and the upgrade is missing or was removed on the way: use another transport.
	UpgradeRequired Code = "upgrade_required"
	// BadUpgrade: The WebSocket handshake is not valid (version, key or method).
	BadUpgrade Code = "bad_upgrade"
	// OriginNotAllowed: The page's origin may not use this server.
	OriginNotAllowed Code = "origin_not_allowed"
)

// What a WebSocket client sends.
const (
	// BadCommand: A frame is not a command, or a field of the command is missing or wrong. The connection stays.
	BadCommand Code = "bad_command"
	// UnknownCommand: There is no command of this type. The connection stays.
	UnknownCommand Code = "unknown_command"
	// BadRef: A command's ref is not valid. The connection stays.
	BadRef Code = "bad_ref"
	// NotSubscribed: The connection does not read this room. The connection stays.
	NotSubscribed Code = "not_subscribed"
	// BinaryFrame: The client sent a binary frame.
	BinaryFrame Code = "binary_frame"
	// BadFrame: What the client sent is not the WebSocket protocol.
	BadFrame Code = "bad_frame"
	// FrameTooLarge: The client sent a frame or message over the limit.
	FrameTooLarge Code = "frame_too_large"
)

// What became of a publish.
const (
	// KeyConflict: The idempotency key was used with other content. Nothing was published now.
	KeyConflict Code = "key_conflict"
	// KeyInProgress: A publish with the same key is under way; repeat to learn its result.
	KeyInProgress Code = "key_in_progress"
	// KeysFull: No room for another idempotency key. A key is never dropped before its time.
	KeysFull Code = "keys_full"
	// OutcomeUnknown: The publish may or may not have taken effect. Repeat it with the same key, and it takes effect once.
	OutcomeUnknown Code = "outcome_unknown"
)

// What the server cannot do now.
const (
	// StoreUnavailable: The store does not answer.
	StoreUnavailable Code = "store_unavailable"
	// Behind: This node does not see yet what the cursor names. The same request succeeds, or tells a gap, within 30 s.
	Behind Code = "behind"
	// Draining: The node is shutting down; go on at another one, or at the next one here.
	Draining Code = "draining"
	// TooManyConnections: The node has as many connections as it may have.
	TooManyConnections Code = "too_many_connections"
	// RequestTimeout: The request did not arrive in time.
	RequestTimeout Code = "request_timeout"
	// Internal: A fault of the server; its log says more.
	Internal Code = "internal"
)

// Why a connection was ended.
const (
	// Gap: A bare WebSocket has no place for a gap: reconnect, and read on from now.
	Gap Code = "gap"
	// Slow: The client did not take what was sent to it for too long. Its cursor still stands.
	Slow Code = "slow"
	// Silent: Nothing, not even a pong, came from the client for three heartbeats.
	Silent Code = "silent"
)

// All lists every code, in the registry's order.
func All() []Code {
	return []Code{
		BadRoom,
		BadCursor,
		BadParameter,
		TooManyRooms,
		BadJSON,
		BadUTF8,
		BadBody,
		EmptyBody,
		BadKey,
		MessageTooLarge,
		BodyTooLarge,
		BatchTooLarge,
		UnsupportedEncoding,
		UnsupportedType,
		UnsupportedMethod,
		NotFound,
		UpgradeRequired,
		BadUpgrade,
		OriginNotAllowed,
		BadCommand,
		UnknownCommand,
		BadRef,
		NotSubscribed,
		BinaryFrame,
		BadFrame,
		FrameTooLarge,
		KeyConflict,
		KeyInProgress,
		KeysFull,
		OutcomeUnknown,
		StoreUnavailable,
		Behind,
		Draining,
		TooManyConnections,
		RequestTimeout,
		Internal,
		Gap,
		Slow,
		Silent,
	}
}

func lookup(c Code) (Info, bool) {
	switch c {
	case BadRoom:
		return Info{Code: c, HTTP: 400, Close: 4410, Reconnect: Never, Allowed: "1-200 bytes of A-Z a-z 0-9 . _ ~ : @ -, and neither . nor .. alone"}, true
	case BadCursor:
		return Info{Code: c, HTTP: 400, Close: 4411, Reconnect: Never, Allowed: "room=position,room=position; or one position for one room; a position is epoch.offset.id or 0"}, true
	case BadParameter:
		return Info{Code: c, HTTP: 400, Close: 4412, Reconnect: Never}, true
	case TooManyRooms:
		return Info{Code: c, HTTP: 400, Close: 4413, Reconnect: Never}, true
	case BadJSON:
		return Info{Code: c, HTTP: 400, Reconnect: Never}, true
	case BadUTF8:
		return Info{Code: c, HTTP: 400, Close: 1007, Reconnect: Never}, true
	case BadBody:
		return Info{Code: c, HTTP: 400, Reconnect: Never}, true
	case EmptyBody:
		return Info{Code: c, HTTP: 400, Reconnect: Never}, true
	case BadKey:
		return Info{Code: c, HTTP: 400, Reconnect: Never, Allowed: "1-200 bytes of printable ASCII"}, true
	case MessageTooLarge:
		return Info{Code: c, HTTP: 413, Reconnect: Never}, true
	case BodyTooLarge:
		return Info{Code: c, HTTP: 413, Reconnect: Never}, true
	case BatchTooLarge:
		return Info{Code: c, HTTP: 413, Reconnect: Never}, true
	case UnsupportedEncoding:
		return Info{Code: c, HTTP: 415, Reconnect: Never, Allowed: "no Content-Encoding, or identity"}, true
	case UnsupportedType:
		return Info{Code: c, HTTP: 415, Reconnect: Never}, true
	case UnsupportedMethod:
		return Info{Code: c, HTTP: 405, Reconnect: Never}, true
	case NotFound:
		return Info{Code: c, HTTP: 404, Reconnect: Never}, true
	case UpgradeRequired:
		return Info{Code: c, HTTP: 426, Reconnect: Never}, true
	case BadUpgrade:
		return Info{Code: c, HTTP: 400, Reconnect: Never}, true
	case OriginNotAllowed:
		return Info{Code: c, HTTP: 403, Close: 4403, Reconnect: Never}, true
	case BadCommand:
		return Info{Code: c, Reconnect: Never}, true
	case UnknownCommand:
		return Info{Code: c, Reconnect: Never, Allowed: "publish, subscribe, unsubscribe, presence, history, ping"}, true
	case BadRef:
		return Info{Code: c, Reconnect: Never, Allowed: "a string up to 64 bytes, or an integer"}, true
	case NotSubscribed:
		return Info{Code: c, Reconnect: Never}, true
	case BinaryFrame:
		return Info{Code: c, Close: 1003, Reconnect: Never, Allowed: "text frames"}, true
	case BadFrame:
		return Info{Code: c, Close: 1002, Reconnect: Never}, true
	case FrameTooLarge:
		return Info{Code: c, Close: 1009, Reconnect: Never}, true
	case KeyConflict:
		return Info{Code: c, HTTP: 422, Reconnect: Never}, true
	case KeyInProgress:
		return Info{Code: c, HTTP: 409, Reconnect: Backoff, RetryAfter: 1000 * time.Millisecond}, true
	case KeysFull:
		return Info{Code: c, HTTP: 503, Reconnect: Backoff, RetryAfter: 5000 * time.Millisecond}, true
	case OutcomeUnknown:
		return Info{Code: c, HTTP: 504, Reconnect: Backoff, MayHaveHappened: true, RetryAfter: 1000 * time.Millisecond}, true
	case StoreUnavailable:
		return Info{Code: c, HTTP: 503, Close: 4103, Reconnect: Backoff, RetryAfter: 1000 * time.Millisecond}, true
	case Behind:
		return Info{Code: c, HTTP: 503, Close: 4102, Reconnect: Backoff, RetryAfter: 1000 * time.Millisecond}, true
	case Draining:
		return Info{Code: c, HTTP: 503, Close: 4100, Reconnect: Backoff, RetryAfter: 1000 * time.Millisecond}, true
	case TooManyConnections:
		return Info{Code: c, HTTP: 503, Close: 4101, Reconnect: Backoff, RetryAfter: 5000 * time.Millisecond}, true
	case RequestTimeout:
		return Info{Code: c, HTTP: 408, Reconnect: Backoff}, true
	case Internal:
		return Info{Code: c, HTTP: 500, Close: 4104, Reconnect: Backoff, MayHaveHappened: true, RetryAfter: 1000 * time.Millisecond}, true
	case Gap:
		return Info{Code: c, Close: 4001, Reconnect: Now}, true
	case Slow:
		return Info{Code: c, Close: 4002, Reconnect: Now}, true
	case Silent:
		return Info{Code: c, Close: 4003, Reconnect: Now}, true
	}
	return Info{}, false
}
