package parse

import (
	"bytes"
	"strconv"
)

// Head is the head of an HTTP answer, as far as a reader needs it.
type Head struct {
	Status  int
	Length  int64 // of the body, -1 where it is not said
	Chunked bool
	Close   bool // the connection ends with this answer
	// Accept is Sec-WebSocket-Accept. ETag and LastModified are what Nchan's
	// polls go by. Extensions is Sec-WebSocket-Extensions. All are parts of what
	// was read.
	Accept, ETag, LastModified, Extensions []byte
}

// maxHead bounds a head.
const maxHead = 64 << 10

var headEnd = []byte("\r\n\r\n")

// ReadHead reads the head at the beginning of p and returns how long it is; 0
// means that more bytes are needed.
func ReadHead(p []byte) (Head, int, error) {
	h := Head{Length: -1}
	n := bytes.Index(p, headEnd)
	if n < 0 {
		if len(p) > maxHead {
			return h, 0, ErrHead
		}
		return h, 0, nil
	}
	lines := p[:n]
	line, lines := cutLine(lines)
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return h, 0, ErrHead
	}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return h, 0, ErrHead
		}
		h.Status = 10*h.Status + int(c-'0')
	}
	h.Close = line[7] == '0'
	for len(lines) > 0 {
		line, lines = cutLine(lines)
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return h, 0, ErrHead
		}
		if err := h.set(name, bytes.Trim(value, " \t")); err != nil {
			return h, 0, err
		}
	}
	h.Chunked = h.Chunked && p[7] == '1' // HTTP/1.0 has no such thing
	return h, n + len(headEnd), nil
}

func (h *Head) set(name, value []byte) error {
	switch len(name) {
	case len("ETag"):
		if fold(name, "etag") {
			h.ETag = value
		}
	case len("Connection"):
		if fold(name, "connection") {
			h.Close = h.Close && !fold(value, "keep-alive") || fold(value, "close")
		}
	case len("Last-Modified"):
		if fold(name, "last-modified") {
			h.LastModified = value
		}
	case len("Content-Length"):
		if !fold(name, "content-length") {
			return nil
		}
		n, err := strconv.ParseUint(string(value), 10, 62)
		if err != nil {
			return ErrHead
		}
		h.Length = int64(n)
	case len("Transfer-Encoding"):
		if fold(name, "transfer-encoding") {
			h.Chunked = fold(value, "chunked")
		}
	case len("Sec-WebSocket-Accept"):
		if fold(name, "sec-websocket-accept") {
			h.Accept = value
		}
	case len("Sec-WebSocket-Extensions"):
		if fold(name, "sec-websocket-extensions") {
			h.Extensions = value
		}
	}
	return nil
}

// fold tells whether a is lower, whatever the case of a's letters.
func fold(a []byte, lower string) bool {
	if len(a) != len(lower) {
		return false
	}
	for i, c := range a {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func cutLine(p []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(p, []byte("\r\n"))
	return line, rest
}
