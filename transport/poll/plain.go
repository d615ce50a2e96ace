package poll

import (
	"bytes"
	"net/http"
	"sync"
)

// plain is a request of the form that nearly every poll on a parked connection
// has: one whole GET of a room. All of it refers to what it was parsed from.
type plain struct {
	rooms, query []byte
	// head is what decides how the request is taken, besides rooms and query:
	// the form of its path, and its header lines but for those that nothing
	// here depends on.
	head []byte
}

// maxHead bounds what decides.
const maxHead = 512

// parsePlain reads a request; head is appended to dst, which has maxHead bytes
// of room. It is strict: false for anything that is not known to be read alike
// by everybody, or that the HTTP server has to see each time.
func parsePlain(request, dst []byte) (p plain, ok bool) {
	rest, ok := bytes.CutPrefix(request, []byte("GET /rooms/"))
	if !ok {
		return p, false
	}
	n := 0
	for n < len(rest) && inRooms[rest[n]] {
		n++
	}
	p.rooms, rest = rest[:n], rest[n:]
	form := byte('/')
	if after, ok := bytes.CutPrefix(rest, []byte("/poll")); ok {
		rest, form = after, 'p'
	}
	if n == 0 {
		return p, false
	}
	if len(rest) > 0 && rest[0] == '?' {
		n = 1
		for n < len(rest) && inQuery[rest[n]] {
			n++
		}
		p.query, rest = rest[1:n], rest[n:]
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(" HTTP/1.1\r\n")); !ok {
		return p, false
	}
	p.head = append(dst, form)
	for {
		end := bytes.IndexByte(rest, '\r')
		if end < 0 || end+1 >= len(rest) || rest[end+1] != '\n' {
			return p, false
		}
		line := rest[:end]
		rest = rest[end+2:]
		if end == 0 {
			return p, len(rest) == 0
		}
		switch kindOf(line) {
		case lineDecides:
			if len(p.head)+len(line)+1 > maxHead {
				return p, false
			}
			p.head = append(append(p.head, line...), '\n')
		case lineRefused:
			return p, false
		}
	}
}

// Bytes that mean themselves, to everybody, in the list of rooms and in a query.
var inRooms, inQuery = func() (rooms, query [256]bool) {
	for c := range 256 {
		switch b := byte(c); {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', bytes.IndexByte([]byte("._~:@-,"), b) >= 0:
			rooms[c], query[c] = true, true
		case bytes.IndexByte([]byte("=&%+"), b) >= 0:
			query[c] = true
		}
	}
	return rooms, query
}()

// lineKind is what a header line means to a poll.
type lineKind uint8

const (
	lineRefused lineKind = iota // not well-formed, or looked at each time
	lineDecides
	lineIgnored
)

// kindOf tells what a header line means.
func kindOf(line []byte) lineKind {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return lineRefused
	}
	for _, c := range line[colon+1:] {
		if (c < ' ' && c != '\t') || c > '~' {
			return lineRefused
		}
	}
	var lower [32]byte
	if colon > len(lower) {
		colon = len(lower)
	}
	for i, c := range line {
		if c == ':' {
			break
		}
		switch {
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-':
		default:
			return lineRefused
		}
		if i < colon {
			lower[i] = c
		}
	}
	switch string(lower[:colon]) {
	case "authorization", "proxy-authorization":
		return lineRefused // what it allows now it may not allow the next time
	case "last-event-id":
		return lineRefused // part of the question
	case "content-length", "transfer-encoding", "trailer", "upgrade", "expect":
		return lineRefused // no plain request
	case "accept-encoding", "accept-language", "cache-control", "cookie", "dnt", "forwarded", "if-modified-since", "if-none-match",
		"pragma", "priority", "referer", "sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "sec-fetch-dest", "sec-fetch-mode",
		"sec-gpc", "traceparent", "tracestate", "user-agent", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port",
		"x-forwarded-proto", "x-real-ip", "x-request-id":
		return lineIgnored // neither net/http nor a handler of polls looks at it
	}
	return lineDecides
}

// heads remembers of the requests that came to Serve, or that published, what
// decided that, and the header lines that the handlers before had given the
// answer by then. The next request of which the same decides would come there
// with the same lines.
type heads struct {
	mu    sync.RWMutex
	known map[string]head
}

// head is what the handlers have decided. It is not changed any more.
type head struct {
	lines []byte
	// of publishes
	header http.Header // the same as lines
	strict bool        // the body must be JSON
}

// maxHeads is how many are remembered. Nearly all clients of a page have one,
// and who makes up others takes no more than this.
const maxHeads = 256

func (h *heads) find(key []byte) (head, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	known, ok := h.known[string(key)]
	return known, ok
}

// remember keeps what was decided; its lines stay the caller's.
func (h *heads) remember(key string, decided head) head {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.known[key]; ok && bytes.Equal(known.lines, decided.lines) && known.strict == decided.strict {
		return known // shared
	}
	if h.known == nil || len(h.known) >= maxHeads {
		h.known = make(map[string]head)
	}
	decided.lines = bytes.Clone(decided.lines)
	h.known[key] = decided
	return decided
}
