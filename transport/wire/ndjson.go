package wire

import "github.com/culvertd/culvert/hub"

// ndjson is one JSON value a line.
type ndjson struct {
	shared
	chunked, bare bool
}

func (f ndjson) Append(dst []byte, ev *hub.Event) []byte {
	start := len(dst)
	switch {
	case !f.bare, ev.Kind == hub.EventGap:
		dst = appendEnvelope(dst, ev)
	case ev.Kind == hub.EventMessage:
		dst = append(dst, ev.Message.Data...)
	}
	return f.line(dst, start)
}

// line ends the line that was appended behind start, if there is one.
func (f ndjson) line(dst []byte, start int) []byte {
	if len(dst) == start {
		return dst
	}
	dst = append(dst, '\n')
	if f.chunked {
		dst = wrapChunk(dst, start)
	}
	return dst
}

// hello appends the connection's first bytes: the filling, which is white
// space before the first line, and hello. The bare form, which has none,
// begins with an empty line, so that the first bytes come at once there too.
func (f ndjson) hello(dst []byte, h *Hello, pad int) []byte {
	start := len(dst)
	dst = appendSpaces(dst, pad)
	if !f.bare {
		dst = AppendHello(dst, h)
	}
	dst = append(dst, '\n')
	if f.chunked {
		dst = wrapChunk(dst, start)
	}
	return dst
}

func (f ndjson) AppendHeartbeat(dst []byte, unixMilli int64, cursor []byte) []byte {
	start := len(dst)
	if !f.bare {
		dst = AppendHeartbeat(dst, unixMilli, cursor)
	}
	dst = append(dst, '\n')
	if f.chunked {
		dst = wrapChunk(dst, start)
	}
	return dst
}

func (f ndjson) AppendEnd(dst []byte, end hub.End, cursor []byte) []byte {
	if silent(end) {
		return dst
	}
	if !f.bare {
		start := len(dst)
		dst = f.line(AppendBye(dst, end, cursor), start)
	}
	if f.chunked {
		dst = append(dst, lastChunk...)
	}
	return dst
}

func appendSpaces(dst []byte, n int) []byte {
	for range n {
		dst = append(dst, ' ')
	}
	return dst
}
