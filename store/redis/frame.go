package redis

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/culvertd/culvert/hub"
)

// What is published on a partition's channel is a sequence of frames, each a
// header line, and what the header announces:
//
//	m <room> <epoch> <offset> <time> <bytes of id> <bytes of from> <bytes of data>
//	<id><from><data>
//
//	p <room> <+ or -> <since> <count> <time> <client> <from>
//
// Room, client and from in a p line are escaped as in keys. An ephemeral message has
// the epoch "-" and the offset 0.

var errFrame = errors.New("redis: unreadable frame")

// sink takes decoded frames.
type sink interface {
	// wants is called before each frame with the room in its escaped form. It
	// says whether the frame is of interest, and gives the room's real name.
	wants(room string) (name string, ok bool)
	message(m *hub.Message)
	presence(ev hub.PresenceEvent)
}

// decodeFrames reads a payload. What came before an unreadable frame has been
// passed to the sink; what follows it is lost.
func decodeFrames(payload string, to sink) error {
	for payload != "" {
		header, rest, ok := strings.Cut(payload, "\n")
		if !ok {
			return fmt.Errorf("%w: no end of line", errFrame)
		}
		var err error
		switch {
		case strings.HasPrefix(header, "m "):
			payload, err = decodeMessage(header[2:], rest, to)
		case strings.HasPrefix(header, "p "):
			payload, err = rest, decodePresence(header[2:], to)
		default:
			// A newer node may say what this one does not know, but how long
			// it is cannot be told.
			err = fmt.Errorf("%w: unknown kind", errFrame)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func decodeMessage(header, body string, to sink) (rest string, err error) {
	var parts [7]string
	if !split(header, parts[:]) {
		return "", fmt.Errorf("%w: a message has 7 fields", errFrame)
	}
	offset, err1 := strconv.ParseUint(parts[2], 10, 64)
	time, err2 := strconv.ParseInt(parts[3], 10, 64)
	var sizes [3]int
	total := 1 // the line feed behind
	for i := range sizes {
		n, err := strconv.ParseUint(parts[4+i], 10, 30)
		if err != nil {
			return "", fmt.Errorf("%w: a size is no number", errFrame)
		}
		sizes[i] = int(n)
		total += int(n)
	}
	if err1 != nil || err2 != nil || offset > hub.MaxOffset || (offset == 0) != (parts[1] == "-") || parts[0] == "" || parts[1] == "" {
		return "", fmt.Errorf("%w: a number or name is missing", errFrame)
	}
	if len(body) < total || body[total-1] != '\n' {
		return "", fmt.Errorf("%w: it is cut off", errFrame)
	}
	rest = body[total:]
	name, ok := to.wants(parts[0])
	if !ok {
		return rest, nil
	}
	// Copies, so that a message that is kept does not keep its whole batch; one
	// for the names together.
	names := parts[1] + body[:sizes[0]+sizes[1]]
	epoch, names := names[:len(parts[1])], names[len(parts[1]):]
	m := &hub.Message{
		Room: name, Offset: offset, Time: time,
		ID: names[:sizes[0]], From: names[sizes[0]:],
		Data: []byte(body[sizes[0]+sizes[1] : total-1]),
	}
	if offset > 0 {
		m.Epoch = epoch
	}
	to.message(m)
	return rest, nil
}

func decodePresence(header string, to sink) error {
	var parts [7]string
	if !split(header, parts[:]) {
		return fmt.Errorf("%w: a presence has 7 fields", errFrame)
	}
	since, err1 := strconv.ParseInt(parts[2], 10, 64)
	count, err2 := strconv.ParseInt(parts[3], 10, 32)
	time, err3 := strconv.ParseInt(parts[4], 10, 64)
	client, ok1 := unescape(parts[5])
	from, ok2 := unescape(parts[6])
	if err1 != nil || err2 != nil || err3 != nil || !ok1 || !ok2 || parts[1] != "+" && parts[1] != "-" {
		return fmt.Errorf("%w: a field of a presence cannot be read", errFrame)
	}
	name, ok := to.wants(parts[0])
	if !ok {
		return nil
	}
	to.presence(hub.PresenceEvent{
		Room: name, Join: parts[1] == "+", Count: int(count), Time: time,
		Member: hub.Member{Client: strings.Clone(client), From: strings.Clone(from), Since: since},
	})
	return nil
}

// split cuts a line at its blanks; false if that does not give just as many
// parts.
func split(line string, parts []string) bool {
	for i := range parts {
		var more bool
		parts[i], line, more = strings.Cut(line, " ")
		if more != (i < len(parts)-1) {
			return false
		}
	}
	return true
}
