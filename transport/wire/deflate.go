package wire

import (
	"bytes"
	"compress/flate"
	"sync"

	"github.com/culvertd/culvert/hub"
)

// deflated is a WebSocket form for clients that agreed on permessage-deflate
// (RFC 7692) without context takeover: every message is compressed by itself, so
// that one frame does for all of them. Frames that are short, or that would not
// become shorter, are those of the plain form, which the extension allows.
//
// What is one connection's own (hello, replies, heartbeats) stays plain.
type deflated struct {
	hub.Framing
	from int // payloads of so many bytes are compressed; 0: none
}

func (f deflated) Append(dst []byte, ev *hub.Event) []byte {
	start := len(dst)
	dst = f.Framing.Append(dst, ev)
	if f.from == 0 || len(dst)-start < f.from {
		return dst // the payload is shorter still
	}
	return deflateFrame(dst, start, f.from)
}

// ForOne implements what the hub asks for: compressing is for frames that many
// take.
func (f deflated) ForOne() hub.Framing { return f.Framing }

// Deflated is the form of a client that agreed on permessage-deflate, in place
// of a WebSocket form.
func Deflated(form int) int {
	switch form {
	case FormWS:
		return FormWSDeflate
	case FormWSBare:
		return FormWSBareDeflate
	case FormWSPage:
		return FormWSPageDeflate
	}
	return form
}

// wsDeflated is the first byte of a compressed message: RSV1 is set.
const wsDeflated = wsText | 0x40

// deflateFrame compresses the text frame dst[start:] if its payload has at
// least from bytes and becomes shorter.
func deflateFrame(dst []byte, start, from int) []byte {
	header := wsHeaderLen(dst[start:])
	payload := dst[start+header:]
	if len(payload) < from {
		return dst
	}
	d := deflaters.Get().(*deflater)
	defer d.give()
	packed := d.deflate(payload)
	if len(packed) >= len(payload) {
		return dst
	}
	dst = appendWSHeader(dst[:start], len(packed))
	dst[start] = wsDeflated
	return append(dst, packed...)
}

// wsHeaderLen is the length of a server's frame's header.
func wsHeaderLen(frame []byte) int {
	switch frame[1] {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}

// deflater is a compressor and what it writes to. It is large, so it is used
// again.
type deflater struct {
	w   *flate.Writer
	out bytes.Buffer
}

var deflaters = sync.Pool{New: func() any {
	d := new(deflater)
	// The fastest level: the others clear 640 KB before every message, for a
	// few percent.
	d.w, _ = flate.NewWriter(&d.out, flate.BestSpeed) // only a bad level is an error
	return d
}}

// maxDeflated is the largest output buffer that is kept.
const maxDeflated = 256 << 10

func (d *deflater) give() {
	if d.out.Cap() <= maxDeflated {
		deflaters.Put(d)
	}
}

// deflate compresses p as RFC 7692, section 7.2.1 says: flushed to a byte
// boundary by an empty block, of which the last four bytes are left out. The
// result is valid until the next call. Writing to a Buffer does not fail.
func (d *deflater) deflate(p []byte) []byte {
	d.out.Reset()
	d.w.Reset(&d.out)
	d.w.Write(p)
	d.w.Flush()
	packed := d.out.Bytes()
	return packed[:len(packed)-4]
}
