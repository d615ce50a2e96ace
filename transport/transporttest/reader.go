package transporttest

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// reader is a client that keeps its place as PROTOCOL.md tells clients to: one
// position a room, taken from hello, messages and gaps.
type reader struct {
	env       *env
	transport string
	rooms     []string
	places    map[string]string
	pipe      pipe
	hello     Event
}

// tryOpen opens a reader; params are "name=value".
func (e *env) tryOpen(transport, rooms string, params ...string) (*reader, error) {
	query := url.Values{}
	for _, param := range params {
		name, value, _ := strings.Cut(param, "=")
		query.Set(name, value)
	}
	p, err := e.connect(transport, rooms, query)
	if err != nil {
		return nil, err
	}
	r := &reader{env: e, transport: transport, pipe: p, places: map[string]string{}}
	for room := range strings.SplitSeq(rooms, ",") {
		if _, twice := r.places[room]; !twice {
			r.rooms = append(r.rooms, room)
			r.places[room] = "0"
		}
	}
	ev, err := p.next()
	if err == nil && ev.Type == "error" {
		// A WebSocket is refused after its upgrade.
		refusal := ev.Error
		for err == nil {
			_, err = p.next()
		}
		if closed, ok := errors.AsType[*closedError](err); ok {
			refusal.closeCode = closed.code
		}
		err = &refusal
	}
	if err == nil && ev.Type != "hello" {
		err = fmt.Errorf("it begins with %+v", ev)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	r.hello = ev
	if ws, ok := p.(*wsPipe); ok && ws.deflate != e.deflate {
		return nil, fmt.Errorf("compression is agreed on: %v", ws.deflate)
	}
	if ev.Cursor == "" {
		// A poll whose first answer had messages began where it was told to.
		ev.Cursor = query.Get("cursor")
		if !strings.Contains(ev.Cursor, "=") && ev.Cursor != "" {
			ev.Cursor = r.rooms[0] + "=" + ev.Cursor
		}
	}
	r.setCursor(ev.Cursor)
	return r, nil
}

func (r *reader) setCursor(cursor string) {
	for part := range strings.SplitSeq(cursor, ",") {
		room, position, _ := strings.Cut(part, "=")
		if _, mine := r.places[room]; mine {
			r.places[room] = withoutMark(position)
		}
	}
}

// withoutMark cuts a poll's mark off a position.
func withoutMark(position string) string {
	parts := strings.Split(position, ".")
	if n := len(parts); n == 2 || n == 4 {
		parts = parts[:n-1]
	}
	return strings.Join(parts, ".")
}

// cursor is where the reader would go on.
func (r *reader) cursor() string {
	parts := make([]string, len(r.rooms))
	for i, room := range r.rooms {
		parts[i] = room + "=" + r.places[room]
	}
	return strings.Join(parts, ",")
}

// try waits for the next event and moves the reader's place.
func (r *reader) try() (Event, error) {
	ev, err := r.pipe.next()
	if err != nil {
		return ev, err
	}
	switch ev.Type {
	case "message":
		if !ev.Ephemeral {
			r.places[ev.Room] = fmt.Sprintf("%s.%d.%s", ev.Epoch, ev.Offset, ev.ID)
		}
	case "gap":
		r.setCursor(ev.To)
	case "heartbeat", "bye":
		got := r.cursor()
		r.setCursor(ev.Cursor)
		if now := r.cursor(); now != got {
			return ev, fmt.Errorf("a %s says %s, what came says %s", ev.Type, now, got)
		}
	}
	if r.transport == SSE {
		if want := r.cursor(); ev.sseID != want {
			return ev, fmt.Errorf("a %s has id %q, the cursor is %q", ev.Type, ev.sseID, want)
		}
		if name := strings.TrimPrefix(ev.Type, "message"); ev.sseName != name {
			return ev, fmt.Errorf("a %s is an event of name %q", ev.Type, ev.sseName)
		}
	}
	return ev, nil
}

// next waits for an event of the given type; heartbeats may come before.
func (r *reader) next(kind string) Event {
	r.env.Helper()
	begin := time.Now()
	for {
		ev, err := r.try()
		if err == nil && time.Since(begin) > patience {
			err = errors.New("nothing but heartbeats came")
		}
		if err != nil {
			r.env.Fatalf("%s, waiting for a %s: %v", r.transport, kind, err)
		}
		if ev.Type == kind {
			return ev
		}
		if ev.Type != "heartbeat" {
			r.env.Fatalf("%s, waiting for a %s: %+v", r.transport, kind, ev)
		}
	}
}

// offsets wants the next messages of a room to have these offsets, in order.
func (r *reader) offsets(room string, first, last uint64) {
	r.env.Helper()
	for want := first; want <= last; want++ {
		if ev := r.next("message"); ev.Room != room || ev.Offset != want {
			r.env.Fatalf("%s: got %s %d, want %s %d", r.transport, ev.Room, ev.Offset, room, want)
		}
	}
}

// ended wants the connection to end, whole, and returns a WebSocket's close
// code. A poll has no connection.
func (r *reader) ended() int {
	r.env.Helper()
	if r.transport == Poll {
		return 0
	}
	ev, err := r.try()
	if closed, ok := errors.AsType[*closedError](err); ok && r.transport == WS {
		return closed.code
	}
	if err == nil || err.Error() != "EOF" || r.transport == WS {
		r.env.Errorf("%s ended with %+v, %v", r.transport, ev, err)
	}
	return 0
}

func (r *reader) close() { r.pipe.close() }
