package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/culvertd/culvert/cmd/internal/bench/netloop"
	"github.com/culvertd/culvert/cmd/internal/bench/parse"
)

// publisher is a connection that publishes.
type publisher struct {
	run  *run
	pool *pool
	conn netloop.Conn
	ws   bool

	ready   bool
	tries   int
	head    []byte
	answers parse.Answers
	frames  parse.Frames
	sent    []sent // not answered, oldest first
	used    time.Duration
	buf     []byte
}

// A connection that was silent for longest is not written to any more: the
// server may be about to end it, and nobody could tell what became of the
// publish. Servers give a silent connection five seconds and more.
const longest = 4 * time.Second

// sent is one request.
type sent struct {
	first uint64        // number of its first message
	n     int           // messages
	due   time.Duration // when a rate asked for it; 0: none did
	at    time.Duration // its time, for latencies
}

// window is how many publishes a WebSocket has under way at a time; HTTP has
// one.
const window = 64

// pool has the publishers that one kind of traffic goes through.
type pool struct {
	all   []*publisher
	idle  []*publisher // each as often as it takes another request
	queue []sent       // requests that wait for one
	away  []away       // publishers that wait before they dial again
	took  bool         // the server has answered one of them
}

type away struct {
	p     *publisher
	until time.Duration
}

// dial has those dial again that have waited long enough.
func (q *pool) dial(now time.Duration) {
	rest := q.away[:0]
	for _, x := range q.away {
		if x.until <= now {
			x.p.dial()
		} else {
			rest = append(rest, x)
		}
	}
	q.away = rest
}

func (q *pool) open(r *run, n int, kind string) {
	for range n {
		p := &publisher{run: r, pool: q, ws: kind == publishWS}
		q.all = append(q.all, p)
		p.dial()
	}
}

func (p *publisher) dial() {
	p.ready, p.head = false, nil
	p.answers, p.frames = parse.Answers{}, parse.Frames{}
	p.conn = p.run.loop.Dial(p, netloop.DialOptions{First: p.pool == &p.run.sidePublishers})
}

// Opened implements netloop.Handler.
func (p *publisher) Opened() {
	p.used = p.run.now()
	if !p.ws {
		p.free(1)
		return
	}
	p.conn.Write([]byte("GET " + p.run.o.target.Path + "/rooms/bench-" + p.run.id + "-publisher/ws HTTP/1.1\r\nHost: " + p.run.host + "\r\n" + p.run.extra +
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + wsKey + "\r\n\r\n"))
}

// free has the publisher take requests: first what waits for one.
func (p *publisher) free(n int) {
	p.ready, p.tries = true, 0
	for range n {
		if len(p.pool.queue) > 0 {
			next := p.pool.queue[0]
			p.pool.queue = p.pool.queue[1:]
			p.send(next)
		} else {
			p.pool.idle = append(p.pool.idle, p)
		}
	}
}

// publish sends a request over a publisher that is free, or when one is.
func (q *pool) publish(s sent) {
	if n := len(q.idle); n > 0 {
		p := q.idle[n-1]
		q.idle = q.idle[:n-1]
		if p.ws || p.run.now()-p.used < longest {
			p.send(s)
			return
		}
		p.conn.Close()
		p.dial()
	}
	q.queue = append(q.queue, s)
}

// send writes the request. The message's time is now, unless it was due: then a
// server that answers late, and so keeps the publishers from going on, would
// look the better for it. How long messages waited is reported as well, since
// too few publishers keep them waiting, too.
func (p *publisher) send(s sent) {
	r := p.run
	p.used = r.now()
	s.at = p.used
	if s.due != 0 {
		s.at = s.due
		if rec := r.ledger.get(s.first); rec.measured && !rec.room.side {
			r.waiting.Record(p.used - s.due)
		}
	}
	p.sent = append(p.sent, s)
	switch {
	case p.ws:
		p.buf = parse.AppendFrame(p.buf[:0], parse.OpText, r.command(s))
	case s.n > 1:
		p.buf = r.appendRequest(p.buf[:0], "/publish", "application/x-ndjson", "", r.batchBody(s))
	default:
		rec := r.ledger.get(s.first)
		path, key := "/rooms/"+rec.room.name, ""
		if r.o.peer == peerNchan {
			path = "/pub/" + rec.room.name
		}
		if r.o.keys {
			key = "Idempotency-Key: " + r.key(s.first) + "\r\n"
		}
		p.buf = r.appendRequest(p.buf[:0], path, "application/json", key, r.data(s.first, s.at))
	}
	p.conn.Write(p.buf)
}

func (r *run) appendRequest(dst []byte, path, kind, headers string, body []byte) []byte {
	dst = append(dst, "POST "...)
	dst = append(dst, r.o.target.Path...)
	dst = append(dst, path...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, r.host...)
	dst = append(dst, "\r\nContent-Type: "...)
	dst = append(dst, kind...)
	dst = append(dst, "\r\n"...)
	dst = append(dst, r.extra...)
	dst = append(dst, headers...)
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}

func (r *run) key(n uint64) string { return r.id + "-" + strconv.FormatUint(n, 10) }

func (r *run) data(n uint64, at time.Duration) []byte {
	return appendData(nil, n, r.ledger.get(n).seq, at, r.o.size)
}

// object is a message as /publish and a command take it.
func (r *run) object(dst []byte, n uint64, at time.Duration) []byte {
	dst = append(dst, `"room":"`...)
	dst = append(dst, r.ledger.get(n).room.name...)
	if r.o.keys {
		dst = append(dst, `","key":"`...)
		dst = append(dst, r.key(n)...)
	}
	dst = append(dst, `","data":`...)
	return append(dst, r.data(n, at)...)
}

func (r *run) command(s sent) []byte {
	b := append([]byte(nil), `{"type":"publish","ref":`...)
	b = strconv.AppendUint(b, s.first, 10)
	b = append(b, ',')
	return append(r.object(b, s.first, s.at), '}')
}

func (r *run) batchBody(s sent) []byte {
	var b []byte
	for i := range uint64(s.n) {
		b = append(b, '{')
		b = r.object(b, s.first+i, s.at)
		b = append(b, '}', '\n')
	}
	return b
}

// Data implements netloop.Handler.
func (p *publisher) Data(b []byte) {
	if err := p.feed(b); err != nil {
		p.conn.Close()
		p.Closed(err)
	}
}

func (p *publisher) feed(b []byte) error {
	if !p.ws {
		return p.answers.Feed(b, p)
	}
	if !p.ready {
		p.head = append(p.head, b...)
		h, n, err := parse.ReadHead(p.head)
		if n == 0 || err != nil {
			return err
		}
		if h.Status != 101 {
			return fmt.Errorf("%w: %w", errStatus, p.run.o.answeredWith(h.Status, p.head[n:]))
		}
		b, p.head = p.head[n:], nil
		p.free(window)
	}
	return p.frames.Feed(b, p)
}

// Frame implements parse.FrameSink.
func (p *publisher) Frame(op byte, payload []byte) error {
	switch op {
	case parse.OpPing:
		p.conn.Write(parse.AppendFrame(nil, parse.OpPong, payload))
	case parse.OpClose:
		return errEnded
	case parse.OpText:
		var e parse.Envelope
		if err := e.Parse(payload); err != nil {
			return err
		}
		if e.Ref == nil {
			return nil
		}
		if len(p.sent) == 0 || string(e.Ref) != strconv.FormatUint(p.sent[0].first, 10) {
			return errors.New("the reply to another command")
		}
		var err error
		if len(e.Error) > 0 {
			err = toldError(e.Error)
		}
		p.settle(e.Offset, err)
	}
	return nil
}

// Answer implements parse.AnswerSink.
func (p *publisher) Answer(h *parse.Head, body []byte) error {
	if len(p.sent) == 0 {
		return errors.New("an answer without a request")
	}
	var e parse.Envelope
	var refused error
	switch {
	case h.Status < 200 || h.Status >= 300:
		refused = p.run.o.answeredWith(h.Status, body)
	case p.run.o.peer == peerNchan:
	case p.sent[0].n > 1:
		if err := e.Parse(body); err != nil {
			return err
		}
		if n := bytes.Count(e.Results, []byte(`"status":201`)); n != p.sent[0].n {
			refused = fmt.Errorf("%d of a batch of %d: %.200s", n, p.sent[0].n, bytes.TrimSpace(body))
		}
		e.Offset = 0
	default:
		if err := e.Parse(body); err != nil {
			return err
		}
	}
	p.settle(e.Offset, refused)
	if h.Close {
		return errEnded
	}
	return nil
}

// settle closes the account of the oldest request; refused is why nothing was
// published, or nil.
func (p *publisher) settle(offset uint64, refused error) {
	r := p.run
	p.used = r.now()
	s := p.sent[0]
	if p.sent = p.sent[1:]; len(p.sent) == 0 {
		p.sent = nil
	}
	if refused != nil {
		r.checks.Unanswered += int64(s.n)
		r.faults.add(fmt.Errorf("publish: %w", refused))
	}
	if rec := r.ledger.get(s.first); rec.measured && !rec.room.side {
		r.publishing.Record(r.now() - s.at)
	}
	for i := range uint64(s.n) {
		rec := r.ledger.get(s.first + i)
		r.answered(rec, refused == nil)
		if offset != 0 {
			if rec.offset != 0 && rec.offset != offset {
				r.checks.Different++
			}
			rec.offset = offset
			rec.room.head = max(rec.room.head, offset)
		} else if r.o.peer == peerNchan {
			rec.room.head = rec.room.seq
		}
	}
	r.progress()
	p.pool.took = true
	p.free(1)
}

// Closed implements netloop.Handler.
func (p *publisher) Closed(err error) {
	if errors.Is(err, io.EOF) {
		err = errEnded
	}
	r := p.run
	idle := p.pool.idle[:0]
	for _, other := range p.pool.idle {
		if other != p {
			idle = append(idle, other)
		}
	}
	p.pool.idle = idle
	if len(p.sent) > 0 || !p.ready { // a kept connection may end while nothing is under way
		r.faults.add(fmt.Errorf("publisher: %w", err))
	}
	for _, s := range p.sent {
		r.checks.Unanswered += int64(s.n)
		for i := range uint64(s.n) {
			r.answered(r.ledger.get(s.first+i), false)
		}
	}
	p.sent = nil
	p.tries++
	switch {
	case p.tries == 1: // a kept connection may end, and another is at hand
		p.dial()
	case p.pool.took: // the server may come back: --patience says how long that may take
		wait := min(firstBackoff<<min(p.tries-2, 8), longestBackoff)
		p.pool.away = append(p.pool.away, away{p, r.now() + wait})
	case p.tries >= mostTries:
		r.fail(fmt.Errorf("publishing at %s is not possible: %w", r.host, err))
	default:
		p.dial()
	}
}

// longestBackoff is the longest that a publisher waits before it dials again.
const longestBackoff = time.Second
