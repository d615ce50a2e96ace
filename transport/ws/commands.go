package ws

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/history"
	"github.com/culvertd/culvert/transport/publish"
	"github.com/culvertd/culvert/transport/read"
	"github.com/culvertd/culvert/transport/wire"
)

const (
	// maxMembers and defaultMembers bound a list of who is present.
	maxMembers     = 1000
	defaultMembers = 100
	// maxFill is the most filling of a pong in bytes.
	maxFill = 64 << 10
)

// command carries a frame out; false ends the reading.
func (c *connection) command(text []byte) bool {
	cmd, e := parse(text)
	if e == nil {
		ctx, cancel := context.WithTimeout(context.Background(), c.h.o.CommandTimeout)
		e = c.do(ctx, &cmd)
		cancel()
	}
	switch {
	case e == nil:
		return true
	case e.Code == codes.BadUTF8 && cmd.kind == "":
		c.end(e) // The frame is not text, which WebSocket forbids.
		return false
	case cmd.ref != nil:
		return c.send(wire.AppendErrorReply(nil, cmd.ref, e))
	}
	return c.send(wire.AppendError(nil, e))
}

func (c *connection) do(ctx context.Context, cmd *command) *codes.Error {
	switch cmd.kind {
	case "publish":
		if cmd.values[fMessages] != nil {
			return c.publishMany(ctx, cmd)
		}
		return c.publishOne(ctx, cmd)
	case "subscribe":
		return c.subscribe(ctx, cmd)
	case "unsubscribe":
		return c.unsubscribe(cmd)
	case "presence":
		return c.presence(ctx, cmd)
	case "history":
		return c.history(ctx, cmd)
	case "ping":
		return c.ping(cmd)
	}
	return codes.New(codes.UnknownCommand, "there is no command of this type")
}

// reply queues a reply, if one is wanted: fields appends what it says.
func (c *connection) reply(cmd *command, fields func(dst []byte) []byte) *codes.Error {
	if cmd.ref != nil {
		c.sendFrame(replyFrame(cmd.ref, fields))
	}
	return nil
}

func replyFrame(ref []byte, fields func(dst []byte) []byte) []byte {
	dst := append(wire.AppendReply(nil, ref), ',')
	return wire.WrapWSText(append(fields(dst), '}'), 0)
}

// onlyRoom is the room of a connection that reads exactly one.
func (c *connection) onlyRoom() string {
	if rooms := c.sub.Rooms(); len(rooms) == 1 {
		return rooms[0]
	}
	return ""
}

func (c *connection) publishOne(ctx context.Context, cmd *command) *codes.Error {
	var it publish.Item
	var e *codes.Error
	if it.Room, e = cmd.optional(fRoom); e != nil {
		return e
	}
	if it.Key, e = cmd.optional(fKey); e != nil {
		return e
	}
	if it.Ephemeral, e = cmd.flag(fEphemeral); e != nil {
		return e
	}
	it.Data = cmd.values[fData]
	room := ""
	if it.Room == nil {
		if room = c.onlyRoom(); room == "" {
			return codes.New(codes.BadCommand, "room is missing, and the connection does not read exactly one")
		}
	}
	if it.Data == nil {
		return codes.New(codes.BadCommand, "data is missing").WithAllowed("any JSON value")
	}
	p, e := it.Publish(room, c.h.o.Publish)
	if e != nil {
		return e
	}
	// The rest of the frame must not live as long as the message.
	p.Data = bytes.Clone(p.Data)
	batch := []hub.Publish{p}
	result := c.h.o.Hub.Publish(ctx, batch)[0]
	if result.Err != nil {
		e := publish.Failed(result.Err, p.Key)
		c.fault(e, result.Err)
		return e
	}
	return c.reply(cmd, func(dst []byte) []byte {
		return wire.AppendPublished(dst, p.Room, batch[0].ID, &result)
	})
}

func (c *connection) publishMany(ctx context.Context, cmd *command) *codes.Error {
	batch, e := publish.ParseArray(cmd.values[fMessages], c.onlyRoom(), c.h.o.Publish)
	if e != nil {
		return e
	}
	defer batch.Free()
	if err := batch.Run(ctx, c.h.o.Hub); err != nil {
		c.fault(codes.From(err), err)
	}
	return c.reply(cmd, batch.AppendResults)
}

func (c *connection) subscribe(ctx context.Context, cmd *command) *codes.Error {
	rooms, e := cmd.rooms()
	if e == nil {
		rooms, e = read.UniqueRooms(rooms, c.h.o.Rooms)
	}
	if e != nil {
		return e
	}
	place := read.Place{CursorGiven: cmd.values[fCursor] != nil, FromGiven: cmd.values[fFrom] != nil}
	if place.Cursor, e = cmd.text(fCursor); e != nil {
		return e
	}
	if place.From, e = cmd.text(fFrom); e != nil {
		return e
	}
	if place.Last, e = cmd.number(fLast, -1, 0, read.MaxLast); e != nil {
		return e
	}
	presence, e := cmd.flag(fPresence)
	if e != nil {
		return e
	}
	subs, e := place.Subscriptions(rooms, presence)
	if e != nil {
		return e
	}
	err := c.sub.SubscribeThen(ctx, subs, c.rooms(cmd))
	if err == nil {
		return nil
	}
	e = codes.From(err)
	c.fault(e, err)
	return e
}

func (c *connection) unsubscribe(cmd *command) *codes.Error {
	rooms, e := cmd.rooms()
	if e == nil {
		rooms, e = read.UniqueRooms(rooms, c.h.o.Rooms)
	}
	if e != nil {
		return e
	}
	return codes.From(c.sub.UnsubscribeThen(rooms, c.rooms(cmd)))
}

// rooms makes the reply that names rooms and where they stand.
func (c *connection) rooms(cmd *command) func(hub.Cursor) []byte {
	return func(cursor hub.Cursor) []byte {
		if cmd.ref == nil {
			return nil
		}
		return replyFrame(cmd.ref, func(dst []byte) []byte {
			rooms := make([]string, len(cursor))
			for i := range cursor {
				rooms[i] = cursor[i].Room
			}
			dst = wire.AppendRooms(dst, rooms)
			dst = append(dst, `,"cursor":"`...)
			dst = cursor.Append(dst)
			return append(dst, '"')
		})
	}
}

func (c *connection) presence(ctx context.Context, cmd *command) *codes.Error {
	room, e := cmd.room()
	if e != nil {
		return e
	}
	limit, e := cmd.number(fLimit, defaultMembers, 0, maxMembers)
	if e != nil {
		return e
	}
	p, err := c.h.o.Hub.Present(ctx, room, limit)
	if err != nil {
		e := codes.From(err)
		c.fault(e, err)
		return e
	}
	return c.reply(cmd, func(dst []byte) []byte { return wire.AppendPresent(dst, room, &p) })
}

func (c *connection) history(ctx context.Context, cmd *command) *codes.Error {
	room, e := cmd.room()
	if e != nil {
		return e
	}
	q := history.Query{Room: room}
	if q.Limit, e = cmd.number(fLimit, 0, 1, history.MaxLimit); e != nil {
		return e
	}
	if q.After, e = cmd.text(fAfter); e != nil {
		return e
	}
	if q.Before, e = cmd.text(fBefore); e != nil {
		return e
	}
	if q.From, e = cmd.text(fFrom); e != nil {
		return e
	}
	r, e := history.Parse(q)
	if e != nil {
		return e
	}
	page, err := c.h.o.Hub.Read(ctx, r)
	if err != nil {
		e := codes.From(err)
		c.fault(e, err)
		return e
	}
	return c.reply(cmd, func(dst []byte) []byte {
		return history.AppendPage(dst, &r, &page, time.Now().UnixMilli())
	})
}

// ping answers with what it was given and some filling: a path that passes
// this passes frames of that size.
func (c *connection) ping(cmd *command) *codes.Error {
	size, e := cmd.number(fSize, 0, 0, maxFill)
	if e != nil {
		return e
	}
	return c.reply(cmd, func(dst []byte) []byte {
		if data := cmd.values[fData]; data != nil {
			dst = append(dst, `"data":`...)
			dst = append(dst, data...)
			dst = append(dst, ',')
		}
		dst = wire.AppendTime(dst, time.Now().UnixMilli())
		if size > 0 {
			dst = append(dst, `,"fill":"`...)
			dst = slices.Grow(dst, size+1)
			for range size {
				dst = append(dst, '.')
			}
			dst = append(dst, '"')
		}
		return dst
	})
}
