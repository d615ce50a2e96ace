// Package publish understands what clients want published: the data of one
// message, idempotency keys, and batches. HTTP and WebSocket share it
// (PROTOCOL.md, section 5).
package publish

import (
	"bytes"
	"encoding/json"
	"sync"
	"unicode/utf8"

	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/rawjson"
	"github.com/culvertd/culvert/transport/wire"
)

// MaxKeyLen is the longest idempotency key in bytes.
const MaxKeyLen = 200

// Limits bound publishes. Zero fields have the defaults.
type Limits struct {
	// Message is the most bytes of one message, as the client wrote it: 65,536.
	Message int
	// Batch is the most messages in one request or command: 1,000.
	Batch int
	// Body is the largest body of a batch in bytes: 1 MiB.
	Body int
}

// WithDefaults fills the fields that are zero.
func (l Limits) WithDefaults() Limits {
	if l.Message == 0 {
		l.Message = 64 << 10
	}
	if l.Batch == 0 {
		l.Batch = 1000
	}
	if l.Body == 0 {
		l.Body = 1 << 20
	}
	return l
}

// compactors are buffers in which JSON is made compact before it is copied to
// the size that it needs.
var compactors = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooled is the largest buffer that is kept for the next message.
const maxPooled = 256 << 10

// Data makes a message's data, compact JSON, of what a client wrote. Where
// strict is false, what does not parse as JSON is text and becomes a string.
// The result does not share memory with body.
func Data(body []byte, strict bool) ([]byte, *codes.Error) {
	if len(body) == 0 {
		return nil, codes.New(codes.EmptyBody, "there is nothing to publish").WithAllowed("JSON or text, at least one byte")
	}
	if !utf8.Valid(body) {
		return nil, codes.New(codes.BadUTF8, "the text is not UTF-8")
	}
	data, err := compact(body)
	if err == nil {
		return data, nil
	}
	if strict {
		return nil, codes.Newf(codes.BadJSON, "the body is not JSON: %v", err)
	}
	return wire.AppendString(make([]byte, 0, len(body)+2), body), nil
}

// compact checks that src is JSON, and copies it without white space.
func compact(src []byte) ([]byte, error) {
	if value := rawjson.SkipSpace(src); len(value) > 0 {
		n, spaced := rawjson.Value(value)
		if n > 0 && len(rawjson.SkipSpace(value[n:])) == 0 {
			return own(value[:n], spaced), nil
		}
	}
	// What is wrong, or whether it is only unusual, encoding/json says.
	buf := compactors.Get().(*bytes.Buffer)
	defer giveCompactor(buf)
	if err := json.Compact(buf, src); err != nil {
		return nil, err
	}
	return bytes.Clone(buf.Bytes()), nil
}

// own copies a valid value without the white space in it; spaced says whether
// there is any. The copy is as large as it must be: it lives in the history.
func own(value []byte, spaced bool) []byte {
	if !spaced {
		return bytes.Clone(value)
	}
	buf := compactors.Get().(*bytes.Buffer)
	defer giveCompactor(buf)
	buf.Grow(len(value))
	return bytes.Clone(rawjson.AppendCompact(buf.AvailableBuffer(), value))
}

func giveCompactor(buf *bytes.Buffer) {
	if buf.Cap() <= maxPooled {
		buf.Reset()
		compactors.Put(buf)
	}
}

// Compact is for JSON that a client sent in a larger whole, such as a command:
// it checks the text and copies it without white space, as Item wants its data.
func Compact(text []byte) ([]byte, *codes.Error) {
	if !utf8.Valid(text) {
		return nil, codes.New(codes.BadUTF8, "the text is not UTF-8")
	}
	data, err := compact(text)
	if err != nil {
		return nil, codes.Newf(codes.BadJSON, "this is not JSON: %v", err)
	}
	return data, nil
}

// CheckKey refuses an idempotency key that is not 1-200 bytes of printable
// ASCII.
func CheckKey(key string) *codes.Error {
	switch {
	case key == "":
		return codes.New(codes.BadKey, "the idempotency key is empty")
	case len(key) > MaxKeyLen:
		return codes.Newf(codes.BadKey, "the idempotency key is %d bytes long", len(key))
	}
	for i := 0; i < len(key); i++ {
		if key[i] < ' ' || key[i] > '~' {
			return codes.Newf(codes.BadKey, "byte %d of the idempotency key is not printable ASCII", i+1)
		}
	}
	return nil
}
