package wire

import (
	"bytes"
	"strconv"
)

// lastChunk ends a body in HTTP/1.1's chunked coding.
const lastChunk = "0\r\n\r\n"

// wrapChunk makes one chunk of what was appended behind start. An empty chunk
// would end the body, so nothing stays nothing.
func wrapChunk(dst []byte, start int) []byte {
	n := len(dst) - start
	if n == 0 {
		return dst
	}
	var header [18]byte
	h := strconv.AppendUint(header[:0], uint64(n), 16)
	h = append(h, '\r', '\n')
	dst = insert(dst, start, h)
	return append(dst, '\r', '\n')
}

// chunkBody is what wrapChunk wrapped.
func chunkBody(chunk []byte) []byte {
	i := bytes.IndexByte(chunk, '\n')
	if i < 0 || len(chunk) < i+3 {
		return nil
	}
	return chunk[i+1 : len(chunk)-2]
}
