package parse

import "bytes"

// LineSink gets the lines of a stream.
type LineSink interface {
	// Line gets a line without its end; p is valid during the call only.
	Line(p []byte) error
}

// Lines cuts a stream into lines that end with "\n".
type Lines struct{ pending }

// Feed reads what has arrived.
func (l *Lines) Feed(p []byte, sink LineSink) error {
	buf := l.join(p)
	for {
		i := bytes.IndexByte(buf, '\n')
		if i < 0 {
			return l.keep(buf)
		}
		if err := sink.Line(buf[:i]); err != nil {
			return err
		}
		buf = buf[i+1:]
	}
}

// EventSink gets the events of a stream.
type EventSink interface {
	// Event gets one event: its name ("" for a message), the id as it now
	// stands (nil where the event sets none), and its data. The slices are
	// valid during the call only.
	Event(name, id, data []byte) error
}

// Events reads server-sent events as the HTML standard has it, apart from a
// byte order mark. Of several id lines in one event the last one counts. An
// event without data is not dispatched, unless it sets an id.
type Events struct{ pending }

// Feed reads what has arrived.
func (e *Events) Feed(p []byte, sink EventSink) error {
	buf := e.join(p)
	for {
		n, err := event(buf, sink)
		if err != nil {
			return err
		}
		if n == 0 {
			return e.keep(buf)
		}
		buf = buf[n:]
	}
}

// event reads one event and returns its length with the empty line behind it;
// 0 means that it is incomplete.
func event(p []byte, sink EventSink) (int, error) {
	var name, id, data []byte
	var has, joined bool
	for at := 0; ; {
		line, n := streamLine(p[at:])
		if n == 0 {
			return 0, nil
		}
		at += n
		if len(line) == 0 {
			if !has && id == nil {
				return at, nil
			}
			return at, sink.Event(name, id, data)
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		if value == nil {
			value = []byte{} // set, to nothing
		}
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			name = value
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				id = value
			}
		case "data":
			switch {
			case !has:
				data = value
			case !joined:
				data = append(append(append([]byte(nil), data...), '\n'), value...)
				joined = true
			default:
				data = append(append(data, '\n'), value...)
			}
			has = true
		}
	}
}

// streamLine returns the first line of p and its length with its end, which is
// "\n", "\r\n" or "\r". A "\r" at the very end is incomplete: what follows it
// decides.
func streamLine(p []byte) (line []byte, n int) {
	end := bytes.IndexByte(p, '\n')
	before := p
	if end >= 0 {
		before = p[:end]
	}
	if cr := bytes.IndexByte(before, '\r'); cr >= 0 && cr+1 < len(p) {
		if p[cr+1] == '\n' {
			return p[:cr], cr + 2
		}
		return p[:cr], cr + 1
	}
	if end < 0 {
		return nil, 0
	}
	return p[:end], end + 1
}
