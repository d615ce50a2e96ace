package wire

import (
	"strconv"
	"time"

	"github.com/culvertd/culvert/hub"
)

// Protocol is the version of the protocol that hello and polls name.
const Protocol = 1

// AppendMessage appends the envelope of a message.
func AppendMessage(dst []byte, m *hub.Message) []byte {
	dst = appendText(dst, `{"type":"message","room":`, m.Room)
	if m.Ephemeral() {
		dst = append(dst, `,"ephemeral":true`...)
	} else {
		dst = append(dst, `,"offset":`...)
		dst = strconv.AppendUint(dst, m.Offset, 10)
		dst = appendText(dst, `,"epoch":`, m.Epoch)
	}
	dst = appendText(dst, `,"id":`, m.ID)
	dst = appendInt(dst, `,"time":`, m.Time)
	if m.From != "" {
		dst = append(dst, `,"from":`...)
		dst = AppendString(dst, m.From)
	}
	dst = append(dst, `,"data":`...)
	dst = append(dst, m.Data...)
	return append(dst, '}')
}

// AppendPresence appends the envelope of somebody's joining or leaving.
func AppendPresence(dst []byte, p *hub.PresenceEvent) []byte {
	dst = appendText(dst, `{"type":"presence","room":`, p.Room)
	if p.Join {
		dst = append(dst, `,"event":"join"`...)
	} else {
		dst = append(dst, `,"event":"leave"`...)
	}
	dst = append(dst, ',')
	dst = appendMemberFields(dst, &p.Member)
	dst = appendInt(dst, `,"count":`, int64(p.Count))
	dst = appendInt(dst, `,"time":`, p.Time)
	return append(dst, '}')
}

// AppendMember appends one member of a list of who is present.
func AppendMember(dst []byte, m *hub.Member) []byte {
	dst = append(dst, '{')
	dst = appendMemberFields(dst, m)
	return append(dst, '}')
}

func appendMemberFields(dst []byte, m *hub.Member) []byte {
	dst = append(dst, `"client":`...)
	dst = AppendString(dst, m.Client)
	if m.From != "" {
		dst = append(dst, `,"from":`...)
		dst = AppendString(dst, m.From)
	}
	return appendInt(dst, `,"since":`, m.Since)
}

// AppendGap appends the envelope of a gap that was told at unixMilli.
func AppendGap(dst []byte, g *hub.Gap, unixMilli int64) []byte {
	dst = appendText(dst, `{"type":"gap","room":`, g.Room)
	dst = appendText(dst, `,"reason":`, string(g.Reason))
	dst = append(dst, `,"from":"`...)
	dst = appendPlace(dst, g.Room, g.From)
	dst = append(dst, `","to":"`...)
	dst = appendPlace(dst, g.Room, g.To)
	dst = append(dst, '"')
	if n := g.Missed(); n > 0 {
		dst = append(dst, `,"missed":`...)
		dst = strconv.AppendUint(dst, n, 10)
	}
	dst = appendInt(dst, `,"time":`, unixMilli)
	return append(dst, '}')
}

// appendPlace appends a cursor of one room.
func appendPlace(dst []byte, room string, p hub.Position) []byte {
	c := [1]hub.RoomPosition{{Room: room, Position: p}}
	return hub.Cursor(c[:]).Append(dst)
}

// AppendHeartbeat appends the envelope of a heartbeat.
func AppendHeartbeat(dst []byte, unixMilli int64, cursor []byte) []byte {
	dst = appendText(dst, `{"type":"heartbeat","cursor":`, cursor)
	dst = appendInt(dst, `,"time":`, unixMilli)
	return append(dst, '}')
}

// Hello is what a connection is told first.
type Hello struct {
	// Server names the program and its version, Node the process.
	Server, Node string
	// Client is the reader's name, given or made.
	Client string
	Rooms  []string
	// Cursor is where reading starts.
	Cursor hub.Cursor
	// Heartbeat is the time between heartbeats.
	Heartbeat time.Duration
	// Time is the server's clock in Unix milliseconds.
	Time int64
}

// AppendHello appends the envelope of a hello.
func AppendHello(dst []byte, h *Hello) []byte {
	dst = appendInt(dst, `{"type":"hello","protocol":`, Protocol)
	dst = append(dst, `,"server":`...)
	dst = AppendString(dst, h.Server)
	dst = append(dst, `,"node":`...)
	dst = AppendString(dst, h.Node)
	dst = append(dst, `,"client":`...)
	dst = AppendString(dst, h.Client)
	dst = AppendRooms(append(dst, ','), h.Rooms)
	dst = append(dst, `,"cursor":"`...)
	dst = h.Cursor.Append(dst)
	dst = append(dst, `","heartbeat":`...)
	// Whole seconds are what clients ask for; parts of one are for tests.
	dst = strconv.AppendFloat(dst, h.Heartbeat.Seconds(), 'f', -1, 64)
	dst = appendInt(dst, `,"time":`, h.Time)
	return append(dst, '}')
}

// AppendRooms appends the field "rooms" with a list of room names.
func AppendRooms(dst []byte, rooms []string) []byte {
	dst = append(dst, `"rooms":[`...)
	for i, room := range rooms {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = append(dst, room...)
		dst = append(dst, '"')
	}
	return append(dst, ']')
}
