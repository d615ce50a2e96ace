package wire

import (
	"bytes"
	"strconv"

	"github.com/culvertd/culvert/hub"
)

// sse is server-sent events as the HTML standard parses them: fields a line,
// an empty line behind each event.
type sse struct{ chunked, bare bool }

// retryMillis is how long EventSource waits before it reconnects by itself.
const retryMillis = 2000

const idField = "id: "

func (f sse) CursorInFrame() bool { return true }

func (f sse) Append(dst []byte, ev *hub.Event) []byte {
	if f.bare && ev.Kind == hub.EventPresence {
		return dst
	}
	start := len(dst)
	switch ev.Kind {
	case hub.EventGap:
		dst = append(dst, "event: gap\n"...)
	case hub.EventPresence:
		dst = append(dst, "event: presence\n"...)
	}
	dst = append(dst, idField...)
	dst = appendPlace(dst, ev.Room, ev.At)
	dst = append(dst, '\n')
	if f.bare && ev.Kind == hub.EventMessage {
		dst = appendBareData(dst, ev.Message.Data)
	} else {
		dst = append(dst, "data: "...)
		dst = appendEnvelope(dst, ev) // Compact JSON has no line break.
		dst = append(dst, '\n')
	}
	dst = append(dst, '\n')
	return f.wrap(dst, start)
}

// appendBareData appends a data line for each line of a string, as the
// standard wants it, and one for any other value. All line breaks that the
// standard knows arrive as "\n".
func appendBareData(dst, data []byte) []byte {
	dst = append(dst, "data: "...)
	start := len(dst)
	dst = appendBare(dst, data)
	if !isString(data) || !bytes.ContainsAny(dst[start:], "\r\n") {
		return append(dst, '\n')
	}
	text := bytes.Clone(dst[start:])
	dst = dst[:start]
	for {
		i := bytes.IndexAny(text, "\r\n")
		if i < 0 {
			break
		}
		dst = append(dst, text[:i]...)
		dst = append(dst, "\ndata: "...)
		if text[i] == '\r' && i+1 < len(text) && text[i+1] == '\n' {
			i++
		}
		text = text[i+1:]
	}
	dst = append(dst, text...)
	return append(dst, '\n')
}

func (f sse) wrap(dst []byte, start int) []byte {
	if f.chunked {
		return wrapChunk(dst, start)
	}
	return dst
}

// AppendWithCursor replaces the id line's cursor, and the size of the chunk
// with it.
func (f sse) AppendWithCursor(dst, wire, cursor []byte) []byte {
	event := wire
	if f.chunked {
		event = chunkBody(wire)
	}
	at := 0
	if !bytes.HasPrefix(event, []byte(idField)) {
		at = bytes.IndexByte(event, '\n') + 1 // behind "event: "
	}
	at += len(idField)
	end := at + bytes.IndexByte(event[at:], '\n')
	if f.chunked {
		dst = strconv.AppendUint(dst, uint64(at+len(cursor)+len(event)-end), 16)
		dst = append(dst, '\r', '\n')
	}
	dst = append(dst, event[:at]...)
	dst = append(dst, cursor...)
	dst = append(dst, event[end:]...)
	if f.chunked {
		dst = append(dst, '\r', '\n')
	}
	return dst
}

// appendNamed appends an event of the given name with its id; the caller
// appends the data's JSON and two line breaks.
func appendNamed(dst []byte, name string, cursor []byte) []byte {
	dst = append(dst, "event: "...)
	dst = append(dst, name...)
	dst = append(dst, '\n')
	dst = appendID(dst, cursor)
	return append(dst, "data: "...)
}

func appendID(dst, cursor []byte) []byte {
	dst = append(dst, idField...)
	dst = append(dst, cursor...)
	return append(dst, '\n')
}

// hello appends the stream's first bytes: a comment with the filling, the
// reconnection time and hello. The bare form has no hello event; it sets the
// last id all the same, since an id line without data does that silently.
func (f sse) hello(dst []byte, h *Hello, pad int) []byte {
	start := len(dst)
	dst = append(dst, ": culvert"...)
	dst = appendSpaces(dst, pad)
	dst = append(dst, "\nretry: "...)
	dst = strconv.AppendInt(dst, retryMillis, 10)
	dst = append(dst, '\n')
	cursor := h.Cursor.Append(nil)
	if f.bare {
		dst = appendID(dst, cursor)
	} else {
		dst = appendNamed(dst, "hello", cursor)
		dst = AppendHello(dst, h)
		dst = append(dst, '\n')
	}
	dst = append(dst, '\n')
	return f.wrap(dst, start)
}

// AppendHeartbeat appends a comment, which every parser drops, and, but for
// the bare form, an event that scripts see.
func (f sse) AppendHeartbeat(dst []byte, unixMilli int64, cursor []byte) []byte {
	start := len(dst)
	dst = append(dst, ": heartbeat\n"...)
	if f.bare {
		dst = appendID(dst, cursor)
	} else {
		dst = appendNamed(dst, "heartbeat", cursor)
		dst = AppendHeartbeat(dst, unixMilli, cursor)
		dst = append(dst, '\n')
	}
	dst = append(dst, '\n')
	return f.wrap(dst, start)
}

// AppendEnd tells EventSource, which knows nothing of bye, by the
// reconnection time when to come back.
func (f sse) AppendEnd(dst []byte, end hub.End, cursor []byte) []byte {
	if silent(end) {
		return dst
	}
	start := len(dst)
	if end.After > 0 {
		dst = append(dst, "retry: "...)
		dst = strconv.AppendInt(dst, end.After.Milliseconds(), 10)
		dst = append(dst, '\n')
	}
	if f.bare {
		dst = append(dst, ": bye\n"...)
	} else {
		dst = appendNamed(dst, "bye", cursor)
		dst = AppendBye(dst, end, cursor)
		dst = append(dst, '\n')
	}
	dst = append(dst, '\n')
	dst = f.wrap(dst, start)
	if f.chunked {
		dst = append(dst, lastChunk...)
	}
	return dst
}

// AppendFirst appends the first bytes of a connection of the given form:
// hello and, where the form has it, the filling of pad bytes. A bare
// WebSocket and a poll have none.
func AppendFirst(dst []byte, form int, h *Hello, pad int) []byte {
	switch form {
	case FormWS:
		start := len(dst)
		return WrapWSText(AppendHello(dst, h), start)
	case FormSSE, FormSSEPlain, FormSSEBare, FormSSEBarePlain:
		f := sse{chunked: form == FormSSE || form == FormSSEBare, bare: form == FormSSEBare || form == FormSSEBarePlain}
		return f.hello(dst, h, pad)
	case FormNDJSON, FormNDJSONPlain, FormNDJSONBare, FormNDJSONBarePlain:
		f := ndjson{
			chunked: form == FormNDJSON || form == FormNDJSONBare,
			bare:    form == FormNDJSONBare || form == FormNDJSONBarePlain,
		}
		return f.hello(dst, h, pad)
	}
	return dst
}
