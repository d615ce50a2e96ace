package ws

import (
	"unicode/utf8"

	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/publish"
	"github.com/culvertd/culvert/transport/rawjson"
)

// field is one of the fields of commands.
type field uint8

const (
	fType field = iota
	fRef
	fRoom
	fRooms
	fData
	fKey
	fEphemeral
	fMessages
	fCursor
	fLast
	fFrom
	fPresence
	fAfter
	fBefore
	fLimit
	fSize
	numFields
)

var fieldNames = [numFields]string{
	"type", "ref", "room", "rooms", "data", "key", "ephemeral", "messages", "cursor", "last", "from", "presence",
	"after", "before", "limit", "size",
}

func fieldNamed(name string) (field, bool) {
	for f, n := range fieldNames {
		if n == name {
			return field(f), true
		}
	}
	return 0, false
}

// maxRefLen is the longest ref in bytes; as JSON it may be longer by its
// escapes.
const maxRefLen = 64

// command is a client's frame, in which the fields are found and not yet
// looked at. Its values lie in one copy of the frame.
type command struct {
	kind   string
	ref    []byte // as JSON, nil for none
	values [numFields][]byte
}

// parse finds out what a frame says. With an error, the command has the ref if
// that much was understood.
func parse(text []byte) (c command, e *codes.Error) {
	text, e = publish.Compact(text)
	if e != nil {
		return c, e
	}
	if !rawjson.IsObject(text) {
		return c, codes.New(codes.BadCommand, "a command is one JSON object").WithAllowed(`{"type":"...","ref":...}`)
	}
	for name, value := range rawjson.Members(text) {
		// null is as if it were not there, but for data, where it is a value.
		if f, known := fieldNamed(name); known && (f == fData || !rawjson.IsNull(value)) {
			c.values[f] = value
		}
	}
	if ref := c.values[fRef]; ref != nil {
		if !goodRef(ref) {
			return c, codes.New(codes.BadRef, "ref is not valid")
		}
		c.ref = ref
	}
	kind, ok := rawjson.String(c.values[fType])
	if !ok {
		return c, codes.New(codes.BadCommand, "type is missing, or not a string")
	}
	c.kind = kind
	return c, nil
}

func goodRef(ref []byte) bool {
	if s, ok := rawjson.String(ref); ok {
		return len(s) <= maxRefLen && utf8.ValidString(s)
	}
	_, ok := rawjson.Int(ref)
	return ok
}

// text is the value of a text field, "" where it is missing.
func (c *command) text(f field) (string, *codes.Error) {
	raw := c.values[f]
	if raw == nil {
		return "", nil
	}
	s, ok := rawjson.String(raw)
	if !ok {
		return "", codes.Newf(codes.BadCommand, "%s is not a string", fieldNames[f])
	}
	return s, nil
}

// optional is the value of a text field, nil where it is missing.
func (c *command) optional(f field) (*string, *codes.Error) {
	if c.values[f] == nil {
		return nil, nil
	}
	s, e := c.text(f)
	return &s, e
}

// number is the value of a number field, or missing.
func (c *command) number(f field, missing, low, high int) (int, *codes.Error) {
	raw := c.values[f]
	if raw == nil {
		return missing, nil
	}
	n, ok := rawjson.Int(raw)
	if !ok || n < int64(low) || n > int64(high) {
		return 0, codes.Newf(codes.BadCommand, "%s is not a whole number from %d to %d", fieldNames[f], low, high)
	}
	return int(n), nil
}

// flag is the value of a truth field, false where it is missing.
func (c *command) flag(f field) (bool, *codes.Error) {
	raw := c.values[f]
	if raw == nil {
		return false, nil
	}
	if v, ok := rawjson.Bool(raw); ok {
		return v, nil
	}
	if n, ok := rawjson.Int(raw); ok && (n == 0 || n == 1) {
		return n == 1, nil
	}
	return false, codes.Newf(codes.BadCommand, "%s is neither true nor false", fieldNames[f])
}

// rooms are the names in "room" or "rooms".
func (c *command) rooms() ([]string, *codes.Error) {
	raw := c.values[fRooms]
	if raw == nil {
		room, e := c.room()
		return []string{room}, e
	}
	if c.values[fRoom] != nil {
		return nil, codes.New(codes.BadCommand, "room and rooms exclude each other")
	}
	var rooms []string
	if !rawjson.IsArray(raw) {
		return nil, codes.New(codes.BadCommand, "rooms is not an array of strings")
	}
	for value := range rawjson.Elements(raw) {
		room, ok := rawjson.String(value)
		if !ok {
			return nil, codes.New(codes.BadCommand, "rooms is not an array of strings")
		}
		rooms = append(rooms, room)
	}
	if len(rooms) == 0 {
		return nil, codes.New(codes.BadCommand, "rooms is empty")
	}
	return rooms, nil
}

// room is the name in "room", which must be there.
func (c *command) room() (string, *codes.Error) {
	if c.values[fRoom] == nil {
		return "", codes.New(codes.BadCommand, "room is missing")
	}
	return c.text(fRoom)
}
