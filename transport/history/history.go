// Package history understands requests for a page of a room's history and
// writes the answer. HTTP and WebSocket share it (PROTOCOL.md, section 10).
package history

import (
	"strconv"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/wire"
)

const (
	// DefaultLimit and MaxLimit bound the messages of a page.
	DefaultLimit = 100
	MaxLimit     = 1000
	// MaxBytes bounds a page's data; the first message is in it in any case.
	MaxBytes = 1 << 20
)

// Query is what a client asks for, as text; "" is the same as not given.
type Query struct {
	Room string
	// After and Before are a position or a cursor that names the room.
	After, Before string
	// From is "start" or empty.
	From string
	// Limit is 1-1000, 0 for the default.
	Limit int
}

// Parse checks a query. The newest page is what a query without a place asks
// for.
func Parse(q Query) (hub.ReadRequest, *codes.Error) {
	r := hub.ReadRequest{Room: q.Room, Mode: hub.ReadLatest, Limit: DefaultLimit, Bytes: MaxBytes}
	if err := hub.ValidateRoom(q.Room); err != nil {
		return r, codes.From(err)
	}
	switch {
	case q.Limit < 0 || q.Limit > MaxLimit:
		return r, codes.Newf(codes.BadParameter, "limit is not a whole number from 1 to %d", MaxLimit).WithAllowed("1-" + strconv.Itoa(MaxLimit))
	case q.Limit > 0:
		r.Limit = q.Limit
	}
	given := 0
	for _, text := range []string{q.After, q.Before, q.From} {
		if text != "" {
			given++
		}
	}
	if given > 1 {
		return r, codes.New(codes.BadParameter, "after, before and from exclude each other").WithAllowed("one of after, before, from=start")
	}
	var e *codes.Error
	switch {
	case q.After != "":
		r.Mode = hub.ReadAfter
		r.From, e = position("after", q.After, q.Room)
	case q.Before != "":
		r.Mode = hub.ReadBefore
		r.From, e = position("before", q.Before, q.Room)
	case q.From == "start":
		r.Mode = hub.ReadOldest
	case q.From != "":
		e = codes.New(codes.BadParameter, "from is not known").WithAllowed("start")
	}
	return r, e
}

// maxPlaceLen bounds a cursor of one room generously.
const maxPlaceLen = 4096

func position(name, text, room string) (hub.Position, *codes.Error) {
	if len(text) > maxPlaceLen {
		return hub.Position{}, codes.Newf(codes.BadCursor, "%s is over %d bytes", name, maxPlaceLen)
	}
	c, err := hub.ParseCursor(text, []string{room})
	if err != nil {
		e := codes.From(err)
		e.Message = name + ": " + e.Message
		return hub.Position{}, e
	}
	at, ok := c.Find(room)
	if !ok {
		return hub.Position{}, codes.Newf(codes.BadCursor, "%s does not name the room", name)
	}
	return at.Position, nil
}

// AppendPage appends the fields of the answer to r: "room", "messages",
// "before", "cursor", "more" and "gap", without braces around them.
func AppendPage(dst []byte, r *hub.ReadRequest, page *hub.Page, unixMilli int64) []byte {
	dst = append(dst, `"room":"`...)
	dst = append(dst, r.Room...)
	dst = append(dst, `","messages":[`...)
	for i, m := range page.Messages {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = wire.AppendMessage(dst, m)
	}
	dst = append(dst, ']')
	if len(page.Messages) > 0 {
		// The page before an empty one is not what "before" a place means.
		dst = appendPlace(append(dst, `,"before":`...), r.Room, page.Messages[0].Position())
	}
	dst = appendPlace(append(dst, `,"cursor":`...), r.Room, after(r, page))
	dst = append(dst, `,"more":`...)
	dst = strconv.AppendBool(dst, page.More)
	if page.Gap != nil {
		dst = append(dst, `,"gap":`...)
		dst = wire.AppendGap(dst, page.Gap, unixMilli)
	}
	return dst
}

// after is the place after the page's last message; of an empty page, the
// place from which reading goes on.
func after(r *hub.ReadRequest, page *hub.Page) hub.Position {
	switch n := len(page.Messages); {
	case n > 0:
		return page.Messages[n-1].Position()
	case r.Mode == hub.ReadBefore:
		return page.Floor
	case r.Mode == hub.ReadAfter && page.Gap != nil:
		return page.Gap.To
	case r.Mode == hub.ReadAfter:
		return r.From
	}
	return page.Head
}

func appendPlace(dst []byte, room string, p hub.Position) []byte {
	dst = append(dst, '"')
	c := [1]hub.RoomPosition{{Room: room, Position: p}}
	dst = hub.Cursor(c[:]).Append(dst)
	return append(dst, '"')
}
