package parse

import "strconv"

// Envelope is one object of the protocol: an envelope, or the answer to a
// publish. Fields are parts of what was read, strings without their quotes but
// as they were written: what Culvert's names and positions are made of is never
// escaped.
type Envelope struct {
	Type, Room, Epoch, ID, Cursor []byte
	Offset                        uint64
	Data                          []byte // as JSON
	Ref                           []byte // of a reply: as JSON
	Code                          []byte // of a bye
	Reason                        []byte // of a gap
	Missed                        uint64 // of a gap
	Error                         []byte // of an error or a reply: as JSON
	Results                       []byte // of a batch: as JSON
}

// Parse reads an object.
func (e *Envelope) Parse(p []byte) error {
	*e = Envelope{}
	return Object(p, func(key, value []byte) error {
		switch string(key) {
		case "type":
			e.Type = text(value)
		case "room":
			e.Room = text(value)
		case "epoch":
			e.Epoch = text(value)
		case "id":
			e.ID = text(value)
		case "cursor":
			e.Cursor = text(value)
		case "offset":
			e.Offset, _ = strconv.ParseUint(string(value), 10, 64)
		case "data":
			e.Data = value
		case "ref":
			e.Ref = value
		case "code":
			e.Code = text(value)
		case "reason":
			e.Reason = text(value)
		case "missed":
			e.Missed, _ = strconv.ParseUint(string(value), 10, 64)
		case "error":
			e.Error = value
		case "results":
			e.Results = value
		}
		return nil
	})
}

// text is a string without its quotes, nil for any other value.
func text(value []byte) []byte {
	if len(value) < 2 || value[0] != '"' {
		return nil
	}
	return value[1 : len(value)-1]
}

// Poll reads the answer to a poll: each element of its messages goes to each,
// the cursor is returned.
func Poll(p []byte, each func(element []byte) error) (cursor []byte, err error) {
	err = Object(p, func(key, value []byte) error {
		switch string(key) {
		case "messages":
			return Array(value, each)
		case "cursor":
			cursor = text(value)
		}
		return nil
	})
	return cursor, err
}

// Object calls each for every member of a JSON object: key without its quotes,
// value without the space around it.
func Object(p []byte, each func(key, value []byte) error) error {
	i := space(p, 0)
	if i >= len(p) || p[i] != '{' {
		return ErrEnvelope
	}
	for i = space(p, i+1); i < len(p) && p[i] != '}'; {
		end := value(p, i)
		if p[i] != '"' || end < 0 {
			return ErrEnvelope
		}
		key := p[i+1 : end-1]
		if i = space(p, end); i >= len(p) || p[i] != ':' {
			return ErrEnvelope
		}
		i = space(p, i+1)
		if end = value(p, i); end < 0 {
			return ErrEnvelope
		}
		if err := each(key, p[i:end]); err != nil {
			return err
		}
		if i = space(p, end); i < len(p) && p[i] == ',' {
			i = space(p, i+1)
		} else if i < len(p) && p[i] != '}' {
			return ErrEnvelope
		}
	}
	if i >= len(p) || space(p, i+1) != len(p) {
		return ErrEnvelope
	}
	return nil
}

// Array calls each for every element of a JSON array.
func Array(p []byte, each func(element []byte) error) error {
	i := space(p, 0)
	if i >= len(p) || p[i] != '[' {
		return ErrEnvelope
	}
	for i = space(p, i+1); i < len(p) && p[i] != ']'; {
		end := value(p, i)
		if end < 0 {
			return ErrEnvelope
		}
		if err := each(p[i:end]); err != nil {
			return err
		}
		if i = space(p, end); i < len(p) && p[i] == ',' {
			i = space(p, i+1)
		} else if i < len(p) && p[i] != ']' {
			return ErrEnvelope
		}
	}
	if i >= len(p) || space(p, i+1) != len(p) {
		return ErrEnvelope
	}
	return nil
}

func space(p []byte, i int) int {
	for i < len(p) && (p[i] == ' ' || p[i] == '\n' || p[i] == '\r' || p[i] == '\t') {
		i++
	}
	return i
}

// value returns the end of the JSON value that begins at i, -1 where there is
// none.
func value(p []byte, i int) int {
	if i >= len(p) {
		return -1
	}
	depth := 0
	for ; i < len(p); i++ {
		switch c := p[i]; {
		case c == '"':
			if i = quoted(p, i); i < 0 {
				return -1
			}
			if depth == 0 {
				return i
			}
			i--
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth < 0 {
				return -1
			}
			if depth == 0 {
				return i + 1
			}
		case depth == 0:
			return word(p, i)
		}
	}
	return -1
}

// quoted returns the end of the string that begins at i.
func quoted(p []byte, i int) int {
	for i++; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// word returns the end of a number, true, false or null.
func word(p []byte, i int) int {
	start := i
	for i < len(p) {
		c := p[i]
		if c != '+' && c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != 'E' {
			break
		}
		i++
	}
	if i == start {
		return -1
	}
	return i
}
