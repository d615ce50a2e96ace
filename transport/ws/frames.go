package ws

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"
)

// The opcodes of RFC 6455.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

var (
	errFrame      = errors.New("not a frame that RFC 6455 allows a client")
	errFrameLimit = errors.New("a message is over the limit")
)

// frames reads a client's frames from whatever pieces they arrive in, for
// connections that no goroutine reads. Where one does, gorilla's reader does
// this; the two agree, which a fuzz test holds them to.
//
// A connection that waits between two messages holds nothing but this struct.
type frames struct {
	header [14]byte
	have   uint8 // bytes of header

	inside bool // the header is complete, payload follows
	opcode byte // of the frame
	final  bool
	left   uint64 // payload bytes to come
	key    [4]byte
	turned uint8 // payload bytes unmasked, mod 4

	kind    byte   // of the message under way, 0 for none
	message []byte // its payload so far
	control []byte // payload of the control frame under way

	deflate bool // permessage-deflate was agreed on
	packed  bool // the message under way is compressed
}

// frameEvent is what a piece of input completed.
type frameEvent struct {
	kind    byte   // opText, opBinary, opClose, opPing, opPong; 0: nothing yet
	payload []byte // valid until the next call; a message's is the caller's
	packed  bool   // payload is compressed
}

// idle reports that no frame and no message is under way.
func (f *frames) idle() bool { return f.have == 0 && !f.inside && f.kind == 0 }

// next takes bytes from p up to the end of the first message or control frame
// in it. Messages may have limit bytes, compressed ones so many as they are.
func (f *frames) next(p []byte, limit int) (n int, ev frameEvent, err error) {
	for {
		if !f.inside {
			used, err := f.readHeader(p[n:], limit)
			n += used
			if err != nil || !f.inside {
				return n, frameEvent{}, err
			}
		}
		take := p[n:]
		if uint64(len(take)) > f.left {
			take = take[:f.left]
		}
		to := &f.message
		if f.opcode >= opClose {
			to = &f.control
		}
		at := len(*to)
		*to = append(*to, take...)
		f.unmask((*to)[at:])
		n += len(take)
		if f.left -= uint64(len(take)); f.left > 0 {
			return n, frameEvent{}, nil
		}
		f.inside, f.have = false, 0
		switch {
		case f.opcode >= opClose:
			ev = frameEvent{kind: f.opcode, payload: f.control}
			f.control = nil
			return n, ev, nil
		case f.final:
			ev = frameEvent{kind: f.kind, payload: f.message, packed: f.packed}
			f.kind, f.message = 0, nil
			return n, ev, nil
		}
	}
}

// readHeader takes header bytes; inside is set when it is complete and good.
func (f *frames) readHeader(p []byte, limit int) (n int, err error) {
	for {
		want := f.headerLen()
		for f.have < want {
			if n == len(p) {
				return n, nil
			}
			f.header[f.have] = p[n]
			f.have++
			n++
		}
		if want == f.headerLen() { // the length is known from the second byte on
			break
		}
	}
	return n, f.open(limit)
}

// headerLen is the length of the header as far as it is known.
func (f *frames) headerLen() uint8 {
	if f.have < 2 {
		return 2
	}
	n := uint8(2)
	switch f.header[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if f.header[1]&0x80 != 0 {
		n += 4
	}
	return n
}

// open checks a complete header.
func (f *frames) open(limit int) error {
	b0, b1 := f.header[0], f.header[1]
	f.final, f.opcode = b0&0x80 != 0, b0&0x0f
	if b0&0x30 != 0 || b1&0x80 == 0 {
		return errFrame // an extension that was not agreed on, or no mask
	}
	packed := b0&0x40 != 0
	if packed && (!f.deflate || f.opcode != opText && f.opcode != opBinary) {
		return errFrame // only a message's first frame may say that it is compressed
	}
	body := f.header[2:]
	switch short := b1 & 0x7f; short {
	case 126:
		f.left, body = uint64(binary.BigEndian.Uint16(body)), body[2:]
	case 127:
		f.left, body = binary.BigEndian.Uint64(body), body[8:]
		if f.left>>63 != 0 {
			return errFrame
		}
	default:
		f.left = uint64(short)
	}
	copy(f.key[:], body)
	f.turned = 0
	switch f.opcode {
	case opClose, opPing, opPong:
		if !f.final || b1&0x7f > 125 {
			return errFrame
		}
	case opText, opBinary:
		if f.kind != 0 {
			return errFrame
		}
		f.kind, f.packed = f.opcode, packed
	case opContinuation:
		if f.kind == 0 {
			return errFrame
		}
	default:
		return errFrame
	}
	if f.opcode < opClose && (f.left > uint64(limit) || uint64(len(f.message))+f.left > uint64(limit)) {
		return errFrameLimit
	}
	f.inside = true
	return nil
}

func (f *frames) unmask(p []byte) {
	if len(p) == 0 {
		return
	}
	if f.turned == 0 && len(p) >= 8 {
		key := uint64(binary.LittleEndian.Uint32(f.key[:]))
		key |= key << 32
		whole := len(p) &^ 7
		for i := 0; i < whole; i += 8 {
			binary.LittleEndian.PutUint64(p[i:], binary.LittleEndian.Uint64(p[i:])^key)
		}
		p = p[whole:]
	}
	for i := range p {
		p[i] ^= f.key[f.turned&3]
		f.turned++
	}
	f.turned &= 3
}

// closeCode is the code in a close frame's payload, 0 for none.
func closeCode(payload []byte) (int, error) {
	if len(payload) < 2 { // one byte is no code; gorilla's reader lets it pass too
		return 0, nil
	}
	code := int(binary.BigEndian.Uint16(payload))
	if !validCloseCode(code) || !utf8.Valid(payload[2:]) {
		return 0, errFrame
	}
	return code, nil
}

// validCloseCode reports the codes that may be received, as gorilla's reader
// does.
func validCloseCode(code int) bool {
	switch code {
	case 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013:
		return true
	}
	return code >= 3000 && code <= 4999
}
