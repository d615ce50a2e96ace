package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/culvertd/culvert/cmd/internal/client"
	"github.com/culvertd/culvert/cmd/internal/settings"
	"github.com/culvertd/culvert/hub"
)

func subCommand() command {
	return command{
		name:      "sub",
		arguments: "ROOM... [flags]",
		summary:   "read rooms and print one line a message",
		about: `
It reads on until it is interrupted, over as many connections as that takes, and resumes
each time after the last message printed. When it ends it says with which --cursor another
one goes on from there.`,
		examples: `
  culvert sub lobby
  culvert sub lobby news --last 10
  culvert sub lobby --format envelope | jq .data
  culvert sub lobby --from start --count 1`,
		declare: func(s *settings.Set) func(context.Context, []string, stdio) error {
			r := new(sub)
			s.Group("Flags")
			declareURL(s, &r.url)
			s.Group("Where to start (default: with what comes)")
			s.String(&r.read.Cursor, "cursor", "CURSOR", "", "go on after this place", nil)
			r.last = s.Int(&r.read.Last, "last", -1, 0, 1000, "start with the newest N messages").NoDefault()
			r.whence = s.Choice(&r.from, "from", "now", []string{"now", "start"}, "start: with the oldest message still there")
			s.Group("What to print, and when to end")
			s.Choice(&r.format, "format", "data", []string{"data", "envelope"}, "what a line holds: the message's data, or all that is known of it")
			s.Bool(&r.read.Presence, "presence", "also print who joins and leaves (with --format envelope)")
			s.Int(&r.count, "count", 0, 0, 1<<31-1, "end after N messages; 0 for never")
			return r.run
		},
	}
}

type sub struct {
	url, from, format string
	count             int
	read              client.Read
	last, whence      *settings.Setting // --last and --from
}

// check refuses what cannot be read as asked. Two places to start from exclude
// each other: the server would follow one of them and say nothing of the other.
func (r *sub) check(rooms []string) error {
	if len(rooms) == 0 {
		return settings.Errorf("it takes at least one room")
	}
	for _, room := range rooms {
		if err := hub.ValidateRoom(room); err != nil {
			return settings.Errorf("%q: %s", room, err)
		}
	}
	if r.last.Given() && r.whence.Given() {
		return settings.Errorf("%s and %s both say where to start: give one of them", r.last, r.whence)
	}
	if r.read.Presence && r.format != "envelope" {
		return settings.Errorf("--presence needs --format envelope: among data nobody could tell it from a message")
	}
	if r.read.Cursor == "" {
		return nil
	}
	cursor, err := hub.ParseCursor(r.read.Cursor, rooms)
	if err != nil {
		return settings.Errorf("--cursor: %s", err)
	}
	named := make(map[string]bool)
	for _, place := range cursor {
		named[place.Room] = true
	}
	lacks := slices.ContainsFunc(rooms, func(room string) bool { return !named[room] })
	for _, x := range []*settings.Setting{r.last, r.whence} {
		if x.Given() && !lacks { // what the cursor lacks starts from there
			return settings.Errorf("--cursor and %s both say where to start: give one of them", x)
		}
	}
	if len(cursor) == 0 {
		return settings.Errorf("--cursor names none of the rooms that are to be read")
	}
	return nil
}

func (r *sub) run(ctx context.Context, args []string, std stdio) error {
	if err := r.check(args); err != nil {
		return err
	}
	base, err := client.ParseURL(r.url)
	if err != nil {
		return err
	}
	c := client.New(base)
	defer c.Close()
	c.Report = func(err error, wait time.Duration) {
		fmt.Fprintf(std.err, "culvert sub: %s: %s; trying again in %s\n", c, err, wait.Round(10*time.Millisecond))
	}
	r.read.Rooms, r.read.Oldest = args, r.from == "start"
	reader := c.NewReader(r.read)
	printed := 0
	var broken error // the output
	err = reader.Run(ctx, func(e *client.Envelope) error {
		if broken = r.print(e, std); broken != nil {
			return broken
		}
		if e.Type == "message" {
			printed++
		}
		if r.count > 0 && printed >= r.count {
			return client.ErrStop
		}
		return nil
	})
	if cursor := reader.Cursor(); cursor != "" {
		fmt.Fprintf(std.err, "culvert sub: to go on from here: --cursor '%s'\n", cursor)
	}
	if errors.Is(err, client.ErrStop) || ctx.Err() != nil {
		return nil
	}
	if broken != nil {
		return broken
	}
	return fmt.Errorf("%s: %w", c, err)
}

// print prints one line, with a single write. What is not a message has no
// place among data, and a gap is told beside it: nothing is dropped silently.
func (r *sub) print(e *client.Envelope, std stdio) error {
	line := e.Line
	if r.format == "data" {
		switch e.Type {
		case "message":
			line = e.Data
		case "gap":
			_, err := fmt.Fprintf(std.err, "culvert sub: gap in %s (%s): messages are missing here, %s\n", e.Room, e.Reason, missed(e.Missed))
			return err
		default:
			return nil
		}
	}
	_, err := std.out.Write(append(bytes.TrimSpace(line), '\n'))
	return err
}

func missed(n uint64) string {
	if n == 0 {
		return "nobody knows how many"
	}
	return fmt.Sprintf("%d of them", n)
}
