package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// The first byte of a server's frame: FIN and the opcode (RFC 6455, 5.2).
const (
	wsText  = 0x80 | 0x1
	wsClose = 0x80 | 0x8
	wsPing  = 0x80 | 0x9
	wsPong  = 0x80 | 0xA
)

const (
	// maxControl is the longest payload of a control frame.
	maxControl = 125
	// maxReason is what a close frame holds beside its code.
	maxReason = maxControl - 2
)

// AppendWSText appends payload as one WebSocket text frame.
func AppendWSText(dst, payload []byte) []byte {
	dst = appendWSHeader(dst, len(payload))
	return append(dst, payload...)
}

func appendWSHeader(dst []byte, n int) []byte {
	switch {
	case n < 126:
		return append(dst, wsText, byte(n))
	case n < 1<<16:
		dst = append(dst, wsText, 126)
		return binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, wsText, 127)
		return binary.BigEndian.AppendUint64(dst, uint64(n))
	}
}

// WrapWSText makes a text frame of dst[start:]. An envelope's length is known
// when it is written, so its header is pushed in afterwards: once per event,
// not per subscriber.
func WrapWSText(dst []byte, start int) []byte {
	var header [10]byte
	h := appendWSHeader(header[:0], len(dst)-start)
	return insert(dst, start, h)
}

// insert makes room at dst[at:] and puts part there.
func insert(dst []byte, at int, part []byte) []byte {
	dst = append(dst, part...)
	copy(dst[at+len(part):], dst[at:])
	copy(dst[at:], part)
	return dst
}

// AppendWSPing appends a ping frame without payload.
func AppendWSPing(dst []byte) []byte { return append(dst, wsPing, 0) }

// AppendWSPong appends a pong frame; payload is cut at 125 bytes.
func AppendWSPong(dst []byte, payload string) []byte {
	payload = payload[:min(len(payload), maxControl)]
	dst = append(dst, wsPong, byte(len(payload)))
	return append(dst, payload...)
}

// AppendWSClose appends a close frame. Code 0 stands for none, which is how a
// close frame without one is answered. The reason is cut at 123 bytes, between
// two characters.
func AppendWSClose(dst []byte, code int, reason string) []byte {
	if code == 0 {
		return append(dst, wsClose, 0)
	}
	if len(reason) > maxReason {
		n := maxReason
		for n > 0 && !utf8.RuneStart(reason[n]) {
			n--
		}
		reason = reason[:n]
	}
	dst = append(dst, wsClose, byte(2+len(reason)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}
