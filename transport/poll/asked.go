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
type asked [maxAsked]atomic.Pointer[question]

const (
	maxAsked    = 64  // a power of two
	maxQuestion = 384 // bytes
)

// question is what a request asks of the hub. One that is remembered has no
// client. It is not changed any more, nor is what its parts refer to.
type question struct {
	text string // rooms and query, without nonce and client
	req  hub.PollRequest
	bare bool
}

var askedSeed = maphash.MakeSeed()

var (
	noncePart  = []byte(read.Nonce + "=")
	clientPart = []byte("client=")
)

// plainQuestion is the question of a request that read.Plain parses, nil for
// others.
func (p *Handler) plainQuestion(r *plain) *question {
	var buf [maxQuestion]byte
	text := append(append(buf[:0], r.rooms...), '?')
	first := len(text)
	var client []byte
	given := false
	for query := r.query; len(query) > 0; {
		part, rest, _ := bytes.Cut(query, []byte{'&'})
		query = rest
		switch {
		case len(part) == 0:
			return nil
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
	at := &p.asked[maphash.Bytes(askedSeed, text)&(maxAsked-1)]
	known := at.Load()
	if known == nil || known.text != string(text) {
		text := string(text)
		q, ok := read.Plain(text[:first-1], text[first:], p.o.Reading)
		if !ok {
			return nil
		}
		known = &question{text: text, req: p.request(q), bare: q.Bare}
		if len(text) <= maxQuestion {
			at.Store(known)
		}
	}
	if !given {
		return known
	}
	// A name has no need of escapes; one that has some is read.Plain's to understand.
	name := string(client)
	if len(name) > read.MaxClientLen || hub.ValidateRoom(name) != nil {
		return nil
	}
	own := *known
	own.req.Client = name
	return &own
}
