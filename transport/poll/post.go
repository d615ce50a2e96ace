package poll

import (
	"bytes"

	"github.com/culvertd/culvert/transport/read"
)

// post is a request of the form that nearly every publish has: one whole POST
// of a short message to a room. All of it refers to what it was parsed from.
type post struct {
	room, query, key, body []byte
	keyed                  bool // there is an Idempotency-Key, perhaps an empty one
	// head is what decides how the request is taken, besides the message and its
	// key: its header lines but for those that nothing here depends on.
	head []byte
	size int // of the whole request
}

// maxPost bounds a request that is read here; longer ones are the HTTP server's.
// It is what one call of Data may bring, so that a buffer for parts has a bound.
const maxPost = 16 << 10

// posted is what parsePost has found.
type posted uint8

const (
	postOther   posted = iota // a request for somebody else
	postBegun                 // the beginning of what may become a whole one
	postHead                  // the same with its head complete
	postWhole                 // a whole one, perhaps with more behind it
	postUnknown               // a whole one that only the handler can decide about
)

// parsePost reads the request that b begins with; head is appended to dst, which
// has maxHead bytes of room. It is as strict as parsePlain: postOther for
// anything that is not known to be read alike by everybody.
func parsePost(b, dst []byte) (p post, found posted) {
	rest, found := after(b, "POST /rooms/")
	if found != postWhole {
		return p, found
	}
	n := span(rest, &inRoom)
	p.room, rest = rest[:n], rest[n:]
	switch {
	case n > maxHead:
		return p, postOther
	case len(rest) == 0:
		return p, begun(b)
	case n == 0:
		return p, postOther
	case rest[0] == '?':
		n = span(rest[1:], &inQuery) + 1
		if p.query, rest = rest[1:n], rest[n:]; len(rest) == 0 {
			return p, begun(b)
		}
		if !plainQuery(p.query) {
			return p, postOther
		}
	}
	if rest, found = after(rest, " HTTP/1.1\r\n"); found != postWhole {
		return p, found
	}
	p.head = append(dst, 'w')
	length := 0
	for {
		end := bytes.IndexByte(rest, '\r')
		if end < 0 || end+1 == len(rest) {
			if bytes.IndexByte(rest, '\n') >= 0 {
				return p, postOther // others take this for the end of a line
			}
			return p, begun(b)
		}
		if rest[end+1] != '\n' {
			return p, postOther
		}
		line := rest[:end]
		rest = rest[end+2:]
		if end == 0 {
			break
		}
		if !p.line(line, &length) {
			return p, postOther
		}
	}
	p.size = len(b) - len(rest) + length
	switch {
	case length == 0 || p.size > maxPost:
		return p, postOther
	case len(rest) < length:
		return p, postHead
	}
	p.body = rest[:length]
	return p, postWhole
}

// line takes one header line; false means that the request is not plain.
func (p *post) line(line []byte, length *int) bool {
	switch kindOf(line) {
	case lineIgnored:
		return true
	case lineDecides:
		if name, value, _ := bytes.Cut(line, colon); isName(name, "idempotency-key") {
			if p.keyed {
				return false
			}
			p.key, p.keyed = bytes.Trim(value, " \t"), true
			return true
		}
		if len(p.head)+len(line)+1 > maxHead {
			return false
		}
		p.head = append(append(p.head, line...), '\n')
		return true
	}
	name, value, _ := bytes.Cut(line, colon)
	if !isName(name, "content-length") || *length != 0 {
		return false
	}
	value = bytes.Trim(value, " \t")
	if len(value) == 0 || len(value) > 5 || value[0] == '0' {
		return false
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return false
		}
		*length = *length*10 + int(c-'0')
	}
	return true
}

var colon = []byte{':'}

// isName tells whether a header's name is lower, in any case of letters.
func isName(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// after is b behind a prefix, and postWhole where it is there.
func after(b []byte, prefix string) ([]byte, posted) {
	n := min(len(b), len(prefix))
	switch {
	case string(b[:n]) != prefix[:n]:
		return nil, postOther
	case n < len(prefix):
		return nil, postBegun
	}
	return b[n:], postWhole
}

// begun is for b, of which everything fits so far.
func begun(b []byte) posted {
	if len(b) >= maxPost {
		return postOther
	}
	return postBegun
}

// span is how many bytes b begins with that are in set.
func span(b []byte, set *[256]bool) int {
	for i, c := range b {
		if !set[c] {
			return i
		}
	}
	return len(b)
}

// inRoom are the bytes of one room's name.
var inRoom = func() (set [256]bool) {
	set = inRooms
	set[','] = false
	return set
}()

// plainQuery reports whether all parameters are known here. Others may mean
// something to whoever is asked before a request is parsed.
func plainQuery(query []byte) bool {
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte{'&'})
		name, _, _ := bytes.Cut(pair, []byte{'='})
		switch string(name) {
		case "key", "ephemeral", read.Nonce:
		default:
			return false
		}
	}
	return true
}
