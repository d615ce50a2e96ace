package storetest

import (
	"fmt"

	"github.com/culvertd/culvert/hub"
)

func bytesOf(msgs []*hub.Message) int {
	n := 0
	for _, m := range msgs {
		n += m.Size()
	}
	return n
}

// wantWhole checks that a history is what its floor and head say.
func (e *env) wantWhole(page hub.Page) {
	e.Helper()
	next := page.Floor.Offset + 1
	for _, m := range page.Messages {
		if m.Offset != next || m.Epoch != page.Head.Epoch {
			e.Fatalf("offset %d follows, want %d; floor %v, head %v", m.Offset, next, page.Floor, page.Head)
		}
		next++
	}
	if page.Head.Offset != next-1 {
		e.Fatalf("the history ends at %d, head %v", next-1, page.Head)
	}
}

var boundLaws = []law{
	{"CountOfARoom", func(e *env) {
		e.open(Options{HistoryMessages: 7})
		var at []hub.Position
		for i := range 30 {
			at = append(at, e.must(message("room", "x")).Position)
			page := e.all("room")
			e.wantWhole(page)
			if want := min(i+1, 7); len(page.Messages) != want {
				e.Fatalf("%d messages after %d publishes, want %d", len(page.Messages), i+1, want)
			}
			if i >= 7 && page.Floor != at[i-7] {
				e.Fatalf("floor %v, want %v", page.Floor, at[i-7])
			}
		}
	}},
	{"BytesOfARoom", func(e *env) {
		const bound = 5000
		e.open(Options{HistoryBytes: bound})
		for i, n := range []int{100, 1000, 1000, 1000, 2000, 10, 10, 4000, 10, 3000, 4700, 50, 50} {
			p := e.must(hub.Publish{Room: "room", ID: hub.NewMessageID(), Data: quote(sized(n))}).Position
			page := e.all("room")
			e.wantWhole(page)
			if sum := bytesOf(page.Messages); sum > bound {
				e.Fatalf("publish %d: the room holds %d bytes", i, sum)
			}
			if page.Head != p || len(page.Messages) == 0 {
				e.Fatalf("publish %d: the newest message is not there: %+v", i, page)
			}
		}
	}},
	{"TooLarge", func(e *env) {
		e.open(Options{HistoryBytes: 5000})
		first := e.must(message("room", "x")).Position
		p := hub.Publish{Room: "room", ID: hub.NewMessageID(), Data: quote(sized(4000))}
		fixed := (&hub.Message{Room: "room"}).Size()
		p.Data = quote(sized(5000 - fixed + 1))
		e.wantErr(e.try(p).Err, hub.ErrTooLarge)
		if h := e.head("room"); h != first {
			e.Fatalf("the refused message moved the head to %v", h)
		}
		e.samePositions("history", positions(e.all("room").Messages), []hub.Position{first})
		p.Data = quote(sized(5000 - fixed))
		if at := e.must(p).Position; at.Offset != 2 {
			e.Fatalf("at %v", at)
		}
	}},
	{"AgeOfAMessage", func(e *env) {
		e.open(Options{HistoryAge: e.span(3)})
		at := e.fill("room", 2)
		e.pass(2)
		at = append(at, e.fill("room", 2)...)
		if !e.b.RealTime {
			e.samePositions("before the age", positions(e.all("room").Messages), at)
		}
		e.pass(2)
		page := e.all("room")
		e.wantWhole(page)
		if !e.b.RealTime {
			e.samePositions("past the age of the first two", positions(page.Messages), at[2:])
		}
		for _, m := range page.Messages {
			if m.Offset <= 2 {
				e.Fatalf("%v is still there", m.Position())
			}
		}
		e.pass(2)
		page = e.all("room")
		if len(page.Messages) > 0 || page.Head != at[3] || page.Floor != at[3] {
			e.Fatalf("past the age of all: %+v", page)
		}
		e.fill("room", 1)
		page = e.all("room")
		e.wantWhole(page)
		if page.Floor != at[3] || page.Head.Offset != 5 {
			e.Fatalf("floor %v, head %v", page.Floor, page.Head)
		}
	}},
	{"BytesOfAllRooms", func(e *env) {
		const bound = 20_000
		e.open(Options{HistoryBytes: 10_000, TotalBytes: bound})
		const rooms = 30
		last := map[string]int{} // when each room was last published to
		step := 0
		publish := func(room, data string) hub.Position {
			step++
			last[room] = step
			return e.must(message(room, data)).Position
		}
		data := sized(1000)
		sum := func() (n int) {
			for i := range rooms {
				page := e.all(fmt.Sprint("room", i))
				if len(page.Messages) > 0 || !page.Head.IsZero() {
					e.wantWhole(page)
				}
				n += bytesOf(page.Messages)
			}
			return n
		}
		first := map[string]hub.Position{}
		for i := range rooms {
			room := fmt.Sprint("room", i)
			first[room] = publish(room, data)
			publish(room, data)
			if i%3 == 2 { // one that is published to all the time
				publish("room0", "x")
			}
		}
		if n := sum(); n > bound || n < bound/2 {
			e.Fatalf("all rooms together hold %d bytes, the bound is %d", n, bound)
		}
		newestEmpty, oldestHeld := 0, step
		for room, at := range last {
			if len(e.all(room).Messages) == 0 {
				newestEmpty = max(newestEmpty, at)
			} else {
				oldestHeld = min(oldestHeld, at)
			}
		}
		if newestEmpty > oldestHeld {
			e.Errorf("a room published to at step %d lost all, one of step %d did not", newestEmpty, oldestHeld)
		}
		if n := len(e.all("room29").Messages); n != 2 {
			e.Errorf("the room with the newest publishes lost messages: %d left", n)
		}
		if n := len(e.all("room0").Messages); n == 0 {
			e.Error("a room with recent publishes lost everything")
		}
		if n := len(e.all("room1").Messages); n != 0 {
			e.Errorf("the room with the oldest publishes kept %d messages", n)
		}
		head := e.head("room1")
		if head.Offset != 2 || head.Epoch != first["room1"].Epoch {
			e.Errorf("its position became %v", head)
		}
		e.wantGap(e.after("room1", first["room1"]), hub.Gap{Room: "room1", Reason: hub.GapEvicted, From: first["room1"], To: head})
	}},
	{"NumberOfRooms", func(e *env) {
		s := e.open(Options{MaxRooms: 5, MaxKeys: 5, HistoryAge: e.span(1), RoomTTL: e.span(2)})
		for i := range 5 {
			e.must(message(fmt.Sprint("room", i), "x"))
		}
		e.wantErr(e.try(message("one more", "x")).Err, hub.ErrUnavailable)
		for i := range 10 { // and takes no place for keys
			e.wantErr(e.try(e.keyed("one more", "u", fmt.Sprint("k", i), "x")).Err, hub.ErrUnavailable)
		}
		if _, err := s.Watch(e.ctx, "one more", newRecorder()); err != nil {
			e.wantErr(err, hub.ErrUnavailable)
		}
		if h := e.head("one more"); !h.IsZero() {
			e.Fatalf("the refused room is at %v", h)
		}
		e.must(message("room3", "known rooms go on"))
		e.pass(4)
		e.must(e.keyed("one more", "u", "k", "x")) // the key of the refused publish was not kept
	}},
	{"EmptyRoomsCostNothing", func(e *env) {
		// Watching, reading and leaving rooms that never had a message does not
		// use up the bound.
		s := e.open(Options{MaxRooms: 5})
		for i := range 50 {
			room := fmt.Sprint("room", i)
			stop, err := s.Watch(e.ctx, room, newRecorder())
			if err != nil {
				e.Fatalf("room %d: %v", i, err)
			}
			e.all(room)
			e.head(room)
			l := hub.Lease{Room: room, Client: "c", Holder: "n", TTL: e.span(ample)}
			e.renew(l)
			e.release(l)
			e.present(room, 1)
			stop()
			l.Room += "unwatched"
			e.renew(l)
			e.release(l)
		}
		e.must(message("room", "x"))
	}},
}
