package parse

import (
	"bytes"
	"compress/flate"
	"io"
)

// Deflate is the extension that is offered, and its only form that is taken:
// every message is compressed by itself, so that one inflater does for all
// connections (RFC 7692, section 7.1.1).
const Deflate = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// Inflater unpacks messages, one at a time. The zero value is ready.
type Inflater struct {
	packed bytes.Reader
	tail   bytes.Reader
	flate  io.ReadCloser
	out    bytes.Buffer
}

// tail is what the sender takes off a message's end, and an empty last block,
// behind which a reader looks for nothing more.
var tail = []byte("\x00\x00\xff\xff\x01\x00\x00\xff\xff")

// inflate returns the message, which is valid until the next call.
func (i *Inflater) inflate(packed []byte) ([]byte, error) {
	i.packed.Reset(packed)
	i.tail.Reset(tail)
	in := io.MultiReader(&i.packed, &i.tail)
	if i.flate == nil {
		i.flate = flate.NewReader(in)
	} else if err := i.flate.(flate.Resetter).Reset(in, nil); err != nil {
		return nil, err
	}
	i.out.Reset()
	n, err := i.out.ReadFrom(io.LimitReader(i.flate, Limit+1))
	switch {
	case err != nil:
		return nil, ErrFrame
	case n > Limit:
		return nil, ErrTooLong
	}
	return i.out.Bytes(), nil
}
