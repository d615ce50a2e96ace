package redis

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/culvertd/culvert/hub"
)

// command is a call of the publish script: what is written for a batch, and
// what the answer to it means. It belongs to a lane, which keeps its memory for
// the next call.
type command struct {
	keys, args []string

	// The batch's rooms, those with history first, and by that and their name
	// (escaped) their place; and of every element the place of its room.
	rooms  []*item // the first item of each
	places map[target]int
	of     []int

	// What the answer has told of each room so far.
	told []hub.Result
}

// target is what an item is for: a room's history, or its watchers alone.
type target struct {
	room      string
	ephemeral bool
}

// write makes the keys and arguments of a call.
func (c *command) write(s *Store, fence string, sequence uint64, notAfter int64, batch []*item) {
	histories := c.gather(batch)
	c.keys = append(c.keys[:0], fence)
	for _, it := range c.rooms[:histories] {
		c.keys = append(c.keys, it.head)
	}
	for _, it := range c.rooms[:histories] {
		c.keys = append(c.keys, it.stream)
	}
	c.args = append(c.args[:0], strconv.FormatUint(sequence, 10), strconv.FormatInt(notAfter, 10), hub.NewEpoch(0)[9:])
	c.args = append(c.args, s.publishArgs...)
	c.args = append(c.args, strconv.Itoa(len(c.rooms)), strconv.Itoa(histories))
	for _, it := range c.rooms {
		c.args = append(c.args, it.room, s.keys.channel[it.partition])
	}
	for i, it := range batch {
		c.args = append(c.args, strconv.Itoa(c.of[i]+1), it.id, it.from, it.data, it.sizes, it.print)
		if it.key != "" {
			c.keys = append(c.keys, it.key)
			c.args = append(c.args, it.keep)
		}
	}
}

// gather finds the batch's rooms, and says how many of them are with history.
func (c *command) gather(batch []*item) (histories int) {
	if c.places == nil {
		c.places = make(map[target]int)
	}
	clear(c.places)
	clear(c.rooms)
	c.rooms = c.rooms[:0]
	c.of = append(c.of[:0], make([]int, len(batch))...)
	for _, ephemeral := range []bool{false, true} {
		for i, it := range batch {
			if it.ephemeral != ephemeral {
				continue
			}
			place, ok := c.places[target{it.room, ephemeral}]
			if !ok {
				place = len(c.rooms)
				c.places[target{it.room, ephemeral}] = place
				c.rooms = append(c.rooms, it)
			}
			c.of[i] = place
		}
		if !ephemeral {
			histories = len(c.rooms)
		}
	}
	return histories
}

var errAnswer = errors.New("redis: unreadable answer to a publish")

// results reads the lines that the publish script returns, one for each element
// of the batch that was written.
func (c *command) results(now, text string, batch []*item) ([]hub.Result, error) {
	at, err := strconv.ParseInt(now, 10, 64)
	if err != nil {
		return nil, errAnswer
	}
	clear(c.told)
	c.told = append(c.told[:0], make([]hub.Result, len(c.rooms))...)
	results := make([]hub.Result, len(batch))
	for i := range results {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		if results[i], err = parseResult(line, at, batch[i].id, &c.told[c.of[i]]); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// parseResult reads one line. told is what the lines before have told of the
// room last, for a line that only says that it goes on.
func parseResult(line string, now int64, id string, told *hub.Result) (r hub.Result, err error) {
	kind, rest, _ := strings.Cut(line, " ")
	switch kind {
	case "!":
		return hub.Result{Err: hub.ErrKeyConflict}, nil
	case "-":
		return hub.Result{Err: fmt.Errorf("%w: redis: %s", hub.ErrUnavailable, rest)}, nil
	case "+":
		if line == kind {
			if told.Position.Offset == 0 {
				return r, errAnswer
			}
			told.Position.Offset++
			told.Position.ID = id
			return *told, nil
		}
	case "=":
	default:
		return r, errAnswer
	}
	epoch, rest, _ := strings.Cut(rest, " ")
	offset, rest, _ := strings.Cut(rest, " ")
	at, first, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(offset, 10, 64)
	if err != nil {
		return r, errAnswer
	}
	r.Time = now
	if at != "" || kind == "=" {
		if r.Time, err = strconv.ParseInt(at, 10, 64); err != nil {
			return r, errAnswer
		}
	}
	if r.Duplicate = kind == "="; r.Duplicate {
		id = first
	}
	if n > 0 {
		r.Position = hub.Position{Epoch: epoch, Offset: n, ID: id}
	}
	if !r.Duplicate {
		*told = r
	}
	return r, nil
}
