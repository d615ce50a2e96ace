package poll

import (
	"bytes"
	"hash/maphash"
	"sync/atomic"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/read"
)

// asked remembers what plain requests ask for. Those that follow upon a message
// ask for the same, but for who asks and the number that keeps caches off, and
// there is one for each of its readers.
type asked struct {
	known [maxAsked]atomic.Pointer[question]
}

const (
	maxAsked    = 64  // a power of two
	maxQuestion = 384 // bytes
)

// question is a request without its nonce and its client. It is not changed any
// more, nor is what its parts refer to.
type question struct {
	text string // rooms and query
	q    read.Request
}

var askedSeed = maphash.MakeSeed()

var (
	noncePart  = []byte(read.Nonce + "=")
	clientPart = []byte("client=")
)

// parse is read.Plain.
func (a *asked) parse(p *plain, l read.Limits) (q read.Request, ok bool) {
	var buf [maxQuestion]byte
	text := append(append(buf[:0], p.rooms...), '?')
	first := len(text)
	var client []byte
	given := false
	for query := p.query; len(query) > 0; {
		part, rest, _ := bytes.Cut(query, []byte{'&'})
		query = rest
		switch {
		case len(part) == 0:
			return read.Request{}, false
		case bytes.HasPrefix(part, noncePart):
			continue
		case !given && bytes.HasPrefix(part, clientPart):
			client, given = part[len(clientPart):], true // the first counts
			continue
		}
		if len(text) > first {
			text = append(text, '&')
		}
		text = append(text, part...)
	}
	at := &a.known[maphash.Bytes(askedSeed, text)&(maxAsked-1)]
	if known := at.Load(); known != nil && known.text == string(text) {
		q = known.q
	} else {
		text := string(text)
		if q, ok = read.Plain(text[:first-1], text[first:], l); !ok {
			return read.Request{}, false
		}
		if len(text) <= maxQuestion {
			at.Store(&question{text: text, q: q})
		}
	}
	if !given {
		return q, true
	}
	// A name has no need of escapes; one that has some is read.Plain's to refuse.
	q.Client, q.ClientGiven = string(client), true
	return q, len(q.Client) <= read.MaxClientLen && hub.ValidateRoom(q.Client) == nil
}
