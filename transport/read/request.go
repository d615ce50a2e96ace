// Package read understands a reading request: which rooms, from where on, and
// how the answer shall look. It is the same for every transport (PROTOCOL.md,
// sections 1-3).
package read

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
)

// Bounds of the parameters (PROTOCOL.md, section 2).
const (
	// MaxLast is the largest last=N: what one room keeps by default.
	MaxLast = 1000
	// MaxWait and DefaultWait are those of a long-poll: most proxies give up
	// after a minute, some after 30 s.
	MaxWait     = 55 * time.Second
	DefaultWait = 20 * time.Second
	// MaxLimit and DefaultLimit bound the messages of one answer.
	MaxLimit     = 1000
	DefaultLimit = 500
	// MaxClientLen is the longest client name in bytes.
	MaxClientLen = 64
	MaxHeartbeat = time.Minute
	// MaxPad is the most filling in bytes.
	MaxPad = 16384
)

// Limits bound what a request may hold. Zero fields have the defaults.
type Limits struct {
	// Rooms is the most rooms of one reader: 100.
	Rooms int
	// Cursor is the longest cursor in bytes: 32,768, which 100 rooms with the
	// longest names fit into.
	Cursor int
	// Body is the largest body of a reading POST in bytes: 65,536.
	Body int
	// Wait is how long a poll waits that does not say: DefaultWait. At most
	// MaxWait, in whole seconds.
	Wait time.Duration
}

func (l Limits) withDefaults() Limits {
	if l.Rooms == 0 {
		l.Rooms = 100
	}
	if l.Cursor == 0 {
		l.Cursor = 32 << 10
	}
	if l.Body == 0 {
		l.Body = 64 << 10
	}
	if l.Wait == 0 {
		l.Wait = DefaultWait
	}
	return l
}

// Request is a reading request that is in order.
type Request struct {
	// Rooms are the rooms in the order of the request, each once.
	Rooms []string
	// Subscriptions are the rooms with their starts, in the same order.
	Subscriptions []hub.Subscription

	// Wait and Limit are for long-polls.
	Wait  time.Duration
	Limit int
	// Bare asks for data without envelopes. There is one room then.
	Bare bool
	// Presence asks for presence events; it is in Subscriptions as well.
	Presence bool
	// Client is the reader's name; where it gave none, ClientGiven is false
	// and the name is made up.
	Client      string
	ClientGiven bool
	// Heartbeat is the time between heartbeats, 0 for the server's default.
	Heartbeat time.Duration
	// Pad is the filling that a stream begins with, in bytes.
	Pad int
	// Probe asks a stream for a heartbeat soon after its first event, for a
	// client that wants to see whether the path holds events back.
	Probe bool
}

// Parse reads a request for the rooms of its path. The body of a POST is read.
func Parse(r *http.Request, rooms string, l Limits) (Request, *codes.Error) {
	l = l.withDefaults()
	var q Request
	var e *codes.Error
	if q.Rooms, e = Rooms(rooms, l.Rooms); e != nil {
		return Request{}, e
	}
	var p params
	if r.Method == http.MethodPost {
		if e := p.addBody(r, l.Body); e != nil {
			return Request{}, e
		}
	}
	if e := p.addForm(r.URL.RawQuery); e != nil {
		return Request{}, e
	}
	lastEventID := ""
	if ids := r.Header["Last-Event-Id"]; len(ids) > 0 {
		lastEventID = ids[0]
	}
	if e := q.fill(&p, lastEventID, l); e != nil {
		return Request{}, e
	}
	if !q.ClientGiven {
		q.Client = hub.NewMessageID()
	}
	return q, nil
}

// fill reads the parameters and the place to start.
func (q *Request) fill(p *params, lastEventID string, l Limits) (e *codes.Error) {
	if e := q.fillParams(p, l); e != nil {
		return e
	}
	place := Place{
		LastEventID: lastEventID,
		Cursor:      p.text[pCursor], CursorGiven: p.given[pCursor],
		From: p.text[pFrom], FromGiven: p.given[pFrom],
		MaxLen: l.Cursor,
	}
	if place.Last, e = p.number(pLast, -1, 0, MaxLast); e != nil {
		return e
	}
	q.Subscriptions, e = place.Subscriptions(q.Rooms, q.Presence)
	return e
}

// fillParams reads everything but the place to start.
func (q *Request) fillParams(p *params, l Limits) (e *codes.Error) {
	var n int
	if n, e = p.number(pWait, int(l.Wait/time.Second), 0, int(MaxWait/time.Second)); e != nil {
		return e
	}
	q.Wait = time.Duration(n) * time.Second
	if q.Limit, e = p.number(pLimit, DefaultLimit, 1, MaxLimit); e != nil {
		return e
	}
	if n, e = p.number(pHeartbeat, 0, 1, int(MaxHeartbeat/time.Second)); e != nil {
		return e
	}
	q.Heartbeat = time.Duration(n) * time.Second
	if q.Pad, e = p.number(pPad, 0, 0, MaxPad); e != nil {
		return e
	}
	if p.given[pProbe] {
		if q.Probe, e = onOff(p.text[pProbe], "probe"); e != nil {
			return e
		}
	}
	if p.given[pFormat] {
		switch p.text[pFormat] {
		case "envelope":
		case "bare":
			q.Bare = true
		default:
			return codes.New(codes.BadParameter, "format is not known").WithAllowed("envelope, bare")
		}
	}
	if q.Bare && len(q.Rooms) > 1 {
		return codes.New(codes.BadParameter, "format=bare does not tell rooms apart").WithAllowed("one room")
	}
	if p.given[pPresence] {
		if q.Presence, e = onOff(p.text[pPresence], "presence"); e != nil {
			return e
		}
	}
	if !p.given[pClient] {
		return nil
	}
	// A copy: it lives as long as the connection, and the rest of a request's
	// address need not.
	q.Client, q.ClientGiven = strings.Clone(p.text[pClient]), true
	if len(q.Client) > MaxClientLen || hub.ValidateRoom(q.Client) != nil {
		return codes.New(codes.BadParameter, "client is not a valid name").WithAllowed("1-64 bytes of A-Z a-z 0-9 . _ ~ : @ -")
	}
	return nil
}

// number is the value of a numeric parameter, or missing where there is none.
func (p *params) number(k param, missing, low, high int) (int, *codes.Error) {
	if !p.given[k] {
		return missing, nil
	}
	return number(p.text[k], k.String(), low, high)
}

// Rooms reads a list of rooms, "a,b,c": each valid, at most limit different
// ones; naming one twice is the same as once.
func Rooms(list string, limit int) ([]string, *codes.Error) {
	if !strings.Contains(list, ",") {
		if err := hub.ValidateRoom(list); err != nil {
			return nil, codes.From(err)
		}
		return []string{list}, nil
	}
	var names []string
	for name := range strings.SplitSeq(list, ",") {
		names = append(names, name)
		// Repeats are not counted, but no list is read without an end.
		if len(names) > 4*limit {
			return nil, tooManyRooms(limit, name)
		}
	}
	return UniqueRooms(names, limit)
}

// UniqueRooms is Rooms for names that came one by one, in the same order.
func UniqueRooms(names []string, limit int) ([]string, *codes.Error) {
	if len(names) == 0 {
		return nil, codes.New(codes.BadRoom, "no room is named")
	}
	rooms := make([]string, 0, min(len(names), limit))
	seen := make(map[string]bool, min(len(names), limit))
	for _, name := range names {
		if seen[name] {
			continue
		}
		if err := hub.ValidateRoom(name); err != nil {
			return nil, codes.From(err)
		}
		if len(rooms) == limit {
			return nil, tooManyRooms(limit, name)
		}
		seen[name] = true
		rooms = append(rooms, name)
	}
	return rooms, nil
}

// tooManyRooms names the first room over the limit.
func tooManyRooms(limit int, room string) *codes.Error {
	return codes.Newf(codes.TooManyRooms, "more than %d rooms", limit).WithAllowed("1-" + strconv.Itoa(limit) + " rooms").WithRoom(room)
}
