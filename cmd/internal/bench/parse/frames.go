package parse

import "encoding/binary"

// The opcodes of RFC 6455, section 5.2.
const (
	OpText   = 1
	OpBinary = 2
	OpClose  = 8
	OpPing   = 9
	OpPong   = 10
)

// FrameSink gets what comes over a WebSocket.
type FrameSink interface {
	// Frame gets a message, put together of its fragments, or a control frame.
	// payload is valid during the call only.
	Frame(op byte, payload []byte) error
}

// Frames reads the frames of a server, which are not masked.
type Frames struct {
	// Inflater unpacks compressed messages, where the server agreed on Deflate.
	Inflater *Inflater

	pending
	message  []byte // the fragments so far
	op       byte   // of the message whose fragments are being read, 0 for none
	deflated bool   // that message is compressed
	closed   bool
}

// deflated is RSV1, which the first frame of a compressed message has.
const deflated = 0x40

// Feed reads what has arrived. Nothing counts behind a close frame.
func (f *Frames) Feed(p []byte, sink FrameSink) error {
	buf := f.join(p)
	for !f.closed {
		n, err := f.frame(buf, sink)
		if err != nil {
			return err
		}
		if n == 0 {
			return f.keep(buf)
		}
		buf = buf[n:]
	}
	return nil
}

func (f *Frames) frame(p []byte, sink FrameSink) (n int, err error) {
	if len(p) < 2 {
		return 0, nil
	}
	final, op, size, start := p[0]&0x80 != 0, p[0]&0x0f, uint64(p[1]), 2
	control := op >= OpClose
	packed := p[0]&deflated != 0
	switch {
	case p[0]&0x30 != 0 || size&0x80 != 0, packed && (f.Inflater == nil || control || op == 0):
		return 0, ErrFrame
	}
	switch {
	case op > OpBinary && op < OpClose, op > OpPong, control && (!final || size > 125):
		return 0, ErrFrame
	case !control && (op == 0) != (f.op != 0): // a continuation of nothing, or a start inside
		return 0, ErrFrame
	case size == 126:
		if start = 4; len(p) < start {
			return 0, nil
		}
		size = uint64(binary.BigEndian.Uint16(p[2:]))
	case size == 127:
		if start = 10; len(p) < start {
			return 0, nil
		}
		size = binary.BigEndian.Uint64(p[2:])
	}
	if size > Limit || uint64(len(f.message))+size > Limit {
		return 0, ErrTooLong
	}
	n = start + int(size)
	if len(p) < n {
		return 0, nil
	}
	payload := p[start:n]
	switch {
	case control:
		f.closed = op == OpClose
		return n, sink.Frame(op, payload)
	case final && op != 0:
		return n, f.whole(op, packed, payload, sink)
	case op != 0:
		f.op, f.deflated = op, packed
	}
	f.message = append(f.message, payload...)
	if final {
		message, op := f.message, f.op
		f.message, f.op = nil, 0
		return n, f.whole(op, f.deflated, message, sink)
	}
	return n, nil
}

func (f *Frames) whole(op byte, packed bool, message []byte, sink FrameSink) error {
	if packed {
		var err error
		if message, err = f.Inflater.inflate(message); err != nil {
			return err
		}
	}
	return sink.Frame(op, message)
}

// AppendFrame appends a client's frame. The mask is all zeros: it protects
// proxies from scripts in browsers, which a bench is not, and leaves the
// payload as it is.
func AppendFrame(dst []byte, op byte, payload []byte) []byte {
	const final, masked = 0x80, 0x80
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, final|op, masked|byte(n))
	case n < 1<<16:
		dst = append(dst, final|op, masked|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, final|op, masked|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	dst = append(dst, 0, 0, 0, 0)
	return append(dst, payload...)
}
