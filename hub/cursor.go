package hub

import (
	"fmt"
	"slices"
	"strings"
)

// RoomPosition is one room's place in a cursor.
type RoomPosition struct {
	Room string
	Position
	// Mark is the place among the messages without an offset (ephemeral
	// messages, presence events) in the log of the node that made the cursor.
	// Another node, or the same one after the log has ended, ignores it. Only
	// polls carry one; it may be empty.
	Mark string
}

// Cursor names, for each of a reader's rooms, the position after which it goes
// on. It is complete: a server needs nothing else to continue.
type Cursor []RoomPosition

// MaxRoomNameLen is the longest room name in bytes.
const MaxRoomNameLen = 200

// ValidateRoom checks a room's name: 1-200 bytes of A-Z a-z 0-9 . _ ~ : @ -,
// and neither "." nor ".." (which URL handling anywhere would remove). The
// error wraps ErrBadRoom.
func ValidateRoom(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrBadRoom)
	case len(name) > MaxRoomNameLen:
		return fmt.Errorf("%w: it is %d bytes long, 200 are allowed", ErrBadRoom, len(name))
	case name == "." || name == "..":
		return fmt.Errorf("%w: %q is not allowed", ErrBadRoom, name)
	}
	for i := 0; i < len(name); i++ {
		if !isRoomByte(name[i]) {
			return fmt.Errorf("%w: byte %d is not one of A-Z a-z 0-9 . _ ~ : @ -", ErrBadRoom, i+1)
		}
	}
	return nil
}

func isRoomByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return c == '.' || c == '_' || c == '~' || c == ':' || c == '@' || c == '-'
}

// ParseCursor reads the text form of a cursor for the given rooms:
// "room=position,room=position". Where there is exactly one room, the position
// alone is accepted too. Rooms in the text that are not among rooms are
// dropped (the reader has left them); rooms that the text lacks are absent from
// the result (the reader has just joined them). The error wraps ErrBadCursor,
// and is a *RoomError where the place of one room is not understood.
func ParseCursor(text string, rooms []string) (Cursor, error) {
	if text == "" {
		return nil, fmt.Errorf("%w: it is empty", ErrBadCursor)
	}
	if !strings.Contains(text, "=") {
		if len(rooms) != 1 {
			return nil, fmt.Errorf("%w: the form without room names is for one room, there are %d", ErrBadCursor, len(rooms))
		}
		p, mark, err := parsePosition(text)
		if err != nil {
			return nil, err
		}
		return Cursor{{Room: rooms[0], Position: p, Mark: mark}}, nil
	}
	var c Cursor
	names := newNameSet(rooms, strings.Count(text, ",")+1)
	for part := range strings.SplitSeq(text, ",") {
		name, at, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("%w: a part is room=position", ErrBadCursor)
		}
		if err := ValidateRoom(name); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadCursor, err)
		}
		p, mark, err := parsePosition(at)
		if err != nil {
			return nil, &RoomError{Room: name, Err: err}
		}
		wanted, again := names.take(name)
		if again {
			return nil, &RoomError{Room: name, Err: fmt.Errorf("%w: room %s is named twice", ErrBadCursor, name)}
		}
		if wanted {
			if c == nil {
				c = make(Cursor, 0, len(rooms))
			}
			c = append(c, RoomPosition{Room: name, Position: p, Mark: mark})
		}
	}
	return c, nil
}

// nameSet tells which names of a cursor are wanted and which come again. A few
// names are compared one by one, without allocating; more go into a map, so
// that a long cursor takes time in proportion to its length.
type nameSet struct {
	rooms []string
	few   [8]string
	n     int
	many  map[string]bool // wanted rooms: false, names that came: true
	came  map[string]bool // names that came and are not wanted
}

func newNameSet(rooms []string, parts int) *nameSet {
	s := &nameSet{rooms: rooms}
	if parts > len(s.few) {
		s.many = make(map[string]bool, len(rooms))
		for _, r := range rooms {
			s.many[r] = false
		}
	}
	return s
}

func (s *nameSet) take(name string) (wanted, again bool) {
	if s.many == nil {
		again = slices.Contains(s.few[:s.n], name)
		s.few[s.n] = name
		s.n++
		return slices.Contains(s.rooms, name), again
	}
	if again, wanted = s.many[name]; wanted {
		s.many[name] = true
		return true, again
	}
	if s.came[name] {
		return false, true
	}
	if s.came == nil {
		s.came = make(map[string]bool)
	}
	s.came[name] = true
	return false, false
}

// String is the cursor's text form, which ParseCursor reads.
func (c Cursor) String() string { return string(c.Append(nil)) }

// Append appends the cursor's text form: always with room names, so that a
// text remains right when the reader joins a second room.
func (c Cursor) Append(dst []byte) []byte {
	for i := range c {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, c[i].Room...)
		dst = append(dst, '=')
		dst = c[i].append(dst)
		if c[i].Mark != "" {
			dst = append(dst, '.')
			dst = append(dst, c[i].Mark...)
		}
	}
	return dst
}

// Find returns the place of a room, and whether the cursor has one.
func (c Cursor) Find(room string) (RoomPosition, bool) {
	for i := range c {
		if c[i].Room == room {
			return c[i], true
		}
	}
	return RoomPosition{}, false
}
