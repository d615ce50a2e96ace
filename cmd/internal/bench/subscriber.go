package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/culvertd/culvert/cmd/internal/bench/netloop"
	"github.com/culvertd/culvert/cmd/internal/bench/parse"
)

// subscriber reads one room over one connection at a time.
type subscriber struct {
	run       *run
	room      *room
	transport string
	// steady: messages wait for its receipt. stalls: it will stop reading.
	// churns: it leaves and comes back.
	steady, stalls, churns bool

	conn  netloop.Conn
	state state
	since time.Duration // in this state
	tries int           // since it was last ready
	given bool          // it was given up

	// of the connection
	headRead bool
	head     []byte // as far as it has come
	refusal  int    // status of an answer that refuses, and whose body tells why
	chunked  bool
	chunks   parse.Chunked
	frames   parse.Frames
	events   parse.Events
	lines    parse.Lines
	answers  parse.Answers
	polls    int
	etag     string // of Nchan's polls
	modified string
	cursor   string // of Culvert's

	// where it stands
	known  bool // the position is
	offset uint64
	id     [maxID]byte
	idLen  int
	ahead  uint64 // without offsets: bit i is seq offset+1+i
	// skipped has offsets that were passed over: counted as lost until one
	// comes behind a later one. nil for nearly everybody.
	skipped map[uint64]struct{}
	live    uint64 // messages from this number on were published while it was ready
}

type state uint8

const (
	stateAway    state = iota // nothing is to be done
	stateWaiting              // to be dialled
	stateDialing              // connecting, or the request is not answered yet
	stateReady
	stateStalled
)

// receiveBuffer is that of subscribers that stop reading: it is the server's
// buffers that matter.
const receiveBuffer = 4096

// handshakeTimeout bounds how long a server may take to answer a subscriber.
const handshakeTimeout = 30 * time.Second

func (s *subscriber) dial() {
	o := netloop.DialOptions{First: s.room.side}
	if s.stalls {
		o.ReceiveBuffer = receiveBuffer
	}
	s.state, s.since = stateDialing, s.run.now()
	s.headRead, s.head, s.refusal, s.chunked = false, nil, 0, false
	s.chunks, s.frames, s.events, s.lines, s.answers = parse.Chunked{}, parse.Frames{}, parse.Events{}, parse.Lines{}, parse.Answers{}
	s.polls = 0
	s.conn = s.run.loop.Dial(s, o)
}

// wsKey is the handshake's nonce and wsAccept what proves that it was read. It
// is the same for all, which spares a hash for each.
const (
	wsKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	wsAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// Opened implements netloop.Handler.
func (s *subscriber) Opened() { s.request() }

func (s *subscriber) request() {
	b := append([]byte(nil), "GET "...)
	b = append(b, s.run.o.target.Path...)
	b = append(b, s.path()...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, s.run.host...)
	b = append(b, "\r\n"...)
	b = append(b, s.run.extra...)
	switch s.transport {
	case transportWS:
		b = append(b, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "+wsKey+"\r\n"...)
		if s.run.o.compress {
			b = append(b, "Sec-WebSocket-Extensions: "+parse.Deflate+"\r\n"...)
		}
	case transportSSE:
		b = append(b, "Accept: text/event-stream\r\n"...)
	case transportPoll:
		if s.etag != "" {
			b = append(b, "If-None-Match: "+s.etag+"\r\nIf-Modified-Since: "+s.modified+"\r\n"...)
		}
	}
	s.conn.Write(append(b, "\r\n"...))
	if s.run.o.peer == peerNchan && s.transport == transportPoll {
		s.becomeReady() // the first answer comes with the first message
	}
}

func (s *subscriber) path() string {
	if s.run.o.peer == peerNchan {
		return "/sub/" + s.transport + "/" + s.room.name
	}
	kind := s.transport
	if kind == transportNDJSON {
		kind = "stream"
	}
	path := "/rooms/" + s.room.name + "/" + kind
	sep := "?"
	if at := s.place(); at != "" {
		path, sep = path+"?cursor="+url.QueryEscape(at), "&"
	}
	if s.transport == transportPoll {
		wait := 55
		if s.state == stateDialing {
			wait = 0 // the answer tells that it is connected, and from where
		}
		s.polls++
		path += fmt.Sprintf("%swait=%d&limit=1000&n=%d", sep, wait, s.polls)
	}
	return path
}

// place is the cursor from which to go on, "" for now.
func (s *subscriber) place() string {
	switch {
	case s.cursor != "":
		return s.cursor
	case !s.known:
		return ""
	case s.offset == 0:
		return s.room.name + "=0"
	}
	return s.room.name + "=" + string(s.room.epoch) + "." + strconv.FormatUint(s.offset, 10) + "." + string(s.id[:s.idLen])
}

// Errors of a subscriber's connection.
var (
	errStatus = errors.New("refused")
	errAccept = errors.New("the handshake's answer is not a WebSocket server's")
	errPlain  = errors.New("the server does not compress: it agreed to no " + parse.Deflate)
	errEnded  = errors.New("the server ended the connection")
)

// Data implements netloop.Handler.
func (s *subscriber) Data(p []byte) {
	s.run.reads++
	if err := s.feed(p); err != nil {
		if s.state == stateReady && !errors.Is(err, errEnded) && !errors.Is(err, errStatus) {
			s.run.checks.Different++ // it cannot be read, or is none of this run's: coming back does not make that good
		}
		s.conn.Close()
		s.lost(err)
	}
}

func (s *subscriber) feed(p []byte) error {
	if s.transport == transportPoll || s.refusal != 0 {
		return s.answers.Feed(p, s)
	}
	if !s.headRead {
		s.head = append(s.head, p...)
		h, n, err := parse.ReadHead(s.head)
		if n == 0 || err != nil {
			return err
		}
		whole := s.head
		p, s.head = s.head[n:], nil
		if err := s.answered(&h); err != nil {
			return err
		}
		if s.refusal != 0 {
			if h.Length < 0 && !h.Chunked {
				return s.refused(h.Status, p) // a body without an end is not waited for
			}
			return s.answers.Feed(whole, s)
		}
	}
	switch {
	case len(p) == 0:
		return nil
	case s.transport == transportWS:
		return s.frames.Feed(p, s)
	case !s.chunked:
		return s.Body(p)
	}
	if _, err := s.chunks.Feed(p, s); err != nil {
		return err
	}
	if s.chunks.Done() {
		return errEnded
	}
	return nil
}

// answered takes the head of the answer to a stream's request.
func (s *subscriber) answered(h *parse.Head) error {
	s.headRead, s.chunked = true, h.Chunked
	want := 200
	if s.transport == transportWS {
		want = 101
	}
	switch {
	case h.Status != want:
		s.refusal = h.Status
		return nil
	case s.transport == transportWS && string(h.Accept) != wsAccept:
		return errAccept
	}
	if s.run.o.compress && s.transport == transportWS {
		if string(h.Extensions) != parse.Deflate {
			s.run.fail(errPlain)
			return errPlain
		}
		s.frames.Inflater = &s.run.inflater
	}
	if s.run.o.peer == peerNchan {
		s.becomeReady() // there is no hello
	}
	return nil
}

// refused is an answer of another status than wanted. One that would be the
// same for every subscriber ends the run.
func (s *subscriber) refused(status int, body []byte) error {
	err := fmt.Errorf("%w: %w", errStatus, s.run.o.answeredWith(status, body))
	if status >= 400 && status < 500 && status != 408 && status != 409 && status != 429 {
		s.run.fail(fmt.Errorf("%s: %w", s.transport, err))
	}
	return err
}

// becomeReady: what is published from now on, the subscriber gets.
func (s *subscriber) becomeReady() {
	if s.state != stateDialing {
		return
	}
	s.state, s.since, s.tries = stateReady, s.run.now(), 0
	s.live = s.run.ledger.next
	s.run.ready++
	s.run.dialing.done(s)
	s.run.progress()
}

// Closed implements netloop.Handler.
func (s *subscriber) Closed(err error) {
	if s.refusal != 0 { // before all of its body was there
		err = s.refused(s.refusal, nil)
	}
	s.lost(err)
}

// Back-off of subscribers that lose their connection.
const (
	firstBackoff = 100 * time.Millisecond
	mostTries    = 8
)

// lost: the connection is gone though the run wants it. The subscriber comes
// back from where it stood.
func (s *subscriber) lost(err error) {
	if errors.Is(err, io.EOF) {
		err = errEnded
	}
	s.run.faults.add(fmt.Errorf("%s: %w", s.transport, err))
	s.left()
	s.tries++
	if s.tries >= mostTries || s.run.o.peer == peerNchan && s.transport != transportPoll {
		s.giveUp()
		return
	}
	s.run.checks.Reconnects++
	s.run.dialing.later(s, s.run.now()+firstBackoff<<(s.tries-1))
}

// left takes the subscriber out of the figures; its connection is closed.
func (s *subscriber) left() {
	switch s.state {
	case stateReady, stateStalled:
		s.run.ready--
	case stateDialing:
		s.run.dialing.done(s)
	}
	s.state = stateAway
}

func (s *subscriber) giveUp() {
	s.given = true
	s.run.missing++
	s.run.checks.Missing++
	s.unsteady()
}

// unsteady makes messages wait no more for the subscriber.
func (s *subscriber) unsteady() {
	if !s.steady {
		return
	}
	s.steady = false
	s.room.steady--
	s.run.ledger.each(func(rec *record) {
		if rec.room == s.room && rec.left > 0 && (rec.offset == 0 || rec.offset > s.offset) {
			s.run.received(rec)
		}
	})
}

// leave closes the connection, as a client that goes away does.
func (s *subscriber) leave() {
	if s.conn != nil {
		s.conn.Close()
	}
	s.left()
}

// stall stops reading; wake goes on.
func (s *subscriber) stall() {
	if s.state == stateReady {
		s.state = stateStalled
		s.conn.Pause()
	}
}

func (s *subscriber) wake() {
	if s.state == stateStalled {
		s.state = stateReady
		s.conn.Resume()
	}
}

// behind is how many messages of its room the subscriber has not got.
func (s *subscriber) behind() int64 { return int64(s.room.head) - int64(s.offset) }

// start takes the position with which the server lets a new reader begin.
func (s *subscriber) start(cursor []byte) error {
	if s.known {
		return nil // it resumed, from where it knows
	}
	at, ok := bytes.CutPrefix(cursor, []byte(s.room.name+"="))
	if !ok {
		return fmt.Errorf("cursor %q does not name the room", cursor)
	}
	s.known = true
	parts := bytes.Split(at, []byte("."))
	if len(parts) < 3 {
		return nil // "0": before everything
	}
	offset, err := strconv.ParseUint(string(parts[1]), 10, 64)
	if err != nil || len(parts[2]) > maxID {
		return fmt.Errorf("cursor %q is not one", cursor)
	}
	s.offset = offset
	s.idLen = copy(s.id[:], parts[2])
	s.room.epoch = append(s.room.epoch[:0], parts[0]...)
	s.room.head = max(s.room.head, offset)
	return nil
}

// dialing has the subscribers that are to connect.
type dialing struct {
	queue []*subscriber // at once, in this order
	after []delayed
	open  []*subscriber // connecting, oldest first; others among them are done
	n     int           // connecting
}

type delayed struct {
	s  *subscriber
	at time.Duration
}

func (d *dialing) now(s *subscriber) {
	s.state = stateWaiting
	d.queue = append(d.queue, s)
}

func (d *dialing) later(s *subscriber, at time.Duration) {
	s.state = stateWaiting
	d.after = append(d.after, delayed{s, at})
}

func (d *dialing) done(*subscriber) { d.n-- }

// dialsAtOnce is how many connections are begun before others have their turn: each
// takes the system some 25 microseconds, and what has arrived meanwhile would be
// seen late.
const dialsAtOnce = 16

// dial lets as many subscribers connect as may do so at a time, a few of them
// now: more says that others could follow at once.
func (r *run) dial(now time.Duration) (more bool) {
	d := &r.dialing
	rest := d.after[:0]
	for _, x := range d.after {
		if x.at <= now {
			d.queue = append(d.queue, x.s)
		} else {
			rest = append(rest, x)
		}
	}
	d.after = rest
	for dials := 0; d.n < r.o.connecting && len(d.queue) > 0; dials++ {
		if dials == dialsAtOnce {
			more = true
			break
		}
		s := d.queue[0]
		d.queue = d.queue[1:]
		if s.state != stateWaiting {
			continue
		}
		d.n++
		d.open = append(d.open, s)
		s.dial()
	}
	for len(d.open) > 0 {
		s := d.open[0]
		if s.state == stateDialing {
			if now-s.since < handshakeTimeout {
				return more
			}
			s.conn.Close()
			s.lost(fmt.Errorf("no answer within %s", handshakeTimeout))
		}
		d.open[0] = nil
		d.open = d.open[1:]
	}
	return more
}
