package read

import (
	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
)

// Place is where a reader wants to start, as it said so. The first that is
// given counts, for each room: LastEventID, Cursor, Last, From, and then now.
type Place struct {
	// LastEventID is the header of that name, "" for none.
	LastEventID string
	Cursor      string
	CursorGiven bool
	// Last is the number of newest messages to start with, negative for none.
	Last      int
	From      string
	FromGiven bool
	// MaxLen is the longest cursor in bytes, 0 for the default of Limits.
	MaxLen int
}

// Subscriptions turns the place into a start for each of the rooms. A place
// that is not understood is an error: it is never taken for "now", since that
// would lose messages without a word.
func (p Place) Subscriptions(rooms []string, presence bool) ([]hub.Subscription, *codes.Error) {
	fallback := hub.Start{Kind: hub.StartNow}
	if p.FromGiven {
		if p.From != "start" {
			return nil, codes.New(codes.BadParameter, "from is not known").WithAllowed("start")
		}
		fallback.Kind = hub.StartOldest
	}
	if p.Last >= 0 {
		if p.Last > MaxLast {
			return nil, codes.Newf(codes.BadParameter, "last is over %d", MaxLast).WithAllowed("0-1000")
		}
		fallback = hub.Start{Kind: hub.StartLast, N: p.Last}
	}
	var header, cursor hub.Cursor
	var e *codes.Error
	if p.LastEventID != "" {
		if header, e = p.parse("Last-Event-ID", p.LastEventID, rooms); e != nil {
			return nil, e
		}
	}
	if p.CursorGiven {
		if cursor, e = p.parse("cursor", p.Cursor, rooms); e != nil {
			return nil, e
		}
	}
	subs := make([]hub.Subscription, len(rooms))
	inHeader, inCursor := finder{cursor: header}, finder{cursor: cursor}
	for i, room := range rooms {
		subs[i] = hub.Subscription{Room: room, Start: fallback, Presence: presence}
		at, ok := inHeader.find(room)
		if !ok {
			at, ok = inCursor.find(room)
		}
		if ok {
			subs[i].Start = hub.Start{Kind: hub.StartAfter, At: at}
		}
	}
	return subs, nil
}

func (p Place) parse(what, text string, rooms []string) (hub.Cursor, *codes.Error) {
	limit := p.MaxLen
	if limit == 0 {
		limit = Limits{}.withDefaults().Cursor
	}
	if len(text) > limit {
		return nil, codes.Newf(codes.BadCursor, "%s is over %d bytes", what, limit)
	}
	c, err := hub.ParseCursor(text, rooms)
	if err != nil {
		e := codes.From(err)
		e.Message = what + ": " + e.Message
		return nil, e
	}
	return c, nil
}

// finder looks rooms up in a cursor. Clients keep the order of their rooms, so
// the next place is nearly always the right one; for long cursors in another
// order a map is made once.
type finder struct {
	cursor hub.Cursor
	next   int
	index  map[string]int
}

func (f *finder) find(room string) (hub.RoomPosition, bool) {
	if f.next < len(f.cursor) && f.cursor[f.next].Room == room {
		f.next++
		return f.cursor[f.next-1], true
	}
	if len(f.cursor) <= 8 {
		return f.cursor.Find(room)
	}
	if f.index == nil {
		f.index = make(map[string]int, len(f.cursor))
		for i := range f.cursor {
			f.index[f.cursor[i].Room] = i
		}
	}
	i, ok := f.index[room]
	if !ok {
		return hub.RoomPosition{}, false
	}
	return f.cursor[i], true
}
