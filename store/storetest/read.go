package storetest

import (
	"fmt"

	"github.com/culvertd/culvert/hub"
)

var readLaws = []law{
	{"AfterInPages", func(e *env) {
		e.open(Options{})
		at := e.fill("room", 10)
		var got []hub.Position
		var from hub.Position
		for i := range 10 {
			page := e.read(hub.ReadRequest{Room: "room", From: from, Limit: 3})
			got = append(got, positions(page.Messages)...)
			if page.More != (len(got) < 10) || page.Head != at[9] {
				e.Fatalf("page %d: more %t, head %v, %d read", i, page.More, page.Head, len(got))
			}
			if !page.More {
				break
			}
			from = page.Messages[len(page.Messages)-1].Position()
		}
		e.samePositions("pages", got, at)
	}},
	{"BeforeInPages", func(e *env) {
		e.open(Options{HistoryMessages: 10})
		at := e.fill("room", 12)
		var got []hub.Position
		from := at[11]
		for i, want := range [][]hub.Position{at[7:11], at[3:7], at[2:3]} {
			page := e.read(hub.ReadRequest{Room: "room", Mode: hub.ReadBefore, From: from, Limit: 4})
			e.wantNoGap(page)
			e.samePositions(fmt.Sprint("page ", i), positions(page.Messages), want)
			got = append(positions(page.Messages), got...)
			if page.More != (i < 2) {
				e.Errorf("page %d: more %t", i, page.More)
			}
			from = want[0]
		}
		page := e.read(hub.ReadRequest{Room: "room", Mode: hub.ReadBefore, From: at[1]}) // the floor
		e.wantNoGap(page)
		if len(page.Messages) > 0 || page.More {
			e.Errorf("before the floor: %+v", page)
		}
	}},
	{"BeforeZeroIsEmpty", func(e *env) {
		e.open(Options{HistoryMessages: 2})
		e.fill("room", 5)
		page := e.read(hub.ReadRequest{Room: "room", Mode: hub.ReadBefore})
		if page.Gap != nil || len(page.Messages) > 0 || page.More {
			e.Fatalf("%+v", page)
		}
	}},
	{"OldestAndLatest", func(e *env) {
		e.open(Options{HistoryMessages: 5})
		at := e.fill("room", 8)
		for _, c := range []struct {
			mode  hub.ReadMode
			limit int
			want  []hub.Position
		}{
			{hub.ReadOldest, 2, at[3:5]},
			{hub.ReadOldest, 5, at[3:]},
			{hub.ReadOldest, 9, at[3:]},
			{hub.ReadLatest, 2, at[6:]},
			{hub.ReadLatest, 5, at[3:]},
			{hub.ReadLatest, 9, at[3:]},
		} {
			// From means nothing to these two.
			page := e.read(hub.ReadRequest{Room: "room", Mode: c.mode, Limit: c.limit, From: hub.Position{Epoch: "x", Offset: 1, ID: "x"}})
			e.wantNoGap(page)
			e.samePositions(fmt.Sprint("mode ", c.mode, " limit ", c.limit), positions(page.Messages), c.want)
			if page.More != (c.limit < 5) || page.Floor != at[2] || page.Head != at[7] {
				e.Errorf("mode %d limit %d: more %t, floor %v, head %v", c.mode, c.limit, page.More, page.Floor, page.Head)
			}
		}
		for _, mode := range []hub.ReadMode{hub.ReadOldest, hub.ReadLatest} {
			page := e.read(hub.ReadRequest{Room: "no such room", Mode: mode})
			if page.Gap != nil || len(page.Messages) > 0 || page.More || !page.Head.IsZero() {
				e.Errorf("an unknown room: %+v", page)
			}
		}
	}},
	{"BytesBoundAPage", func(e *env) {
		e.open(Options{})
		var at []hub.Position
		for _, n := range []int{10, 20, 30, 500, 40} {
			at = append(at, e.must(hub.Publish{Room: "room", ID: hub.NewMessageID(), Data: quote(sized(n))}).Position)
		}
		for _, c := range []struct {
			mode  hub.ReadMode
			from  int // index in at, -1: the zero position
			bytes int
			want  []hub.Position
			more  bool
		}{
			{hub.ReadAfter, -1, 60, at[:3], true},
			{hub.ReadAfter, -1, 59, at[:2], true},
			{hub.ReadAfter, -1, 30, at[:2], true},
			{hub.ReadAfter, -1, 1, at[:1], true}, // the first one in any case
			{hub.ReadAfter, 2, 100, at[3:4], true},
			{hub.ReadAfter, 2, 540, at[3:], false},
			{hub.ReadAfter, 3, 1, at[4:], false},
			{hub.ReadAfter, -1, 0, at, false},
			{hub.ReadOldest, -1, 30, at[:2], true},
			{hub.ReadLatest, -1, 540, at[3:], true},
			{hub.ReadLatest, -1, 539, at[4:], true},
			{hub.ReadLatest, -1, 1, at[4:], true},
			{hub.ReadBefore, 3, 50, at[1:3], true},
			{hub.ReadBefore, 4, 1, at[3:4], true},
			{hub.ReadBefore, 1, 1, at[:1], false},
		} {
			q := hub.ReadRequest{Room: "room", Mode: c.mode, Bytes: c.bytes}
			if c.from >= 0 {
				q.From = at[c.from]
			}
			page := e.read(q)
			e.samePositions(fmt.Sprintf("mode %d from %v bytes %d", c.mode, q.From, c.bytes), positions(page.Messages), c.want)
			if page.More != c.more {
				e.Errorf("mode %d from %v bytes %d: more %t", c.mode, q.From, c.bytes, page.More)
			}
		}
	}},
	{"GapAndPagesTogether", func(e *env) {
		e.open(Options{HistoryMessages: 4})
		at := e.fill("room", 10)
		page := e.read(hub.ReadRequest{Room: "room", From: at[1], Limit: 2})
		e.wantGap(page, hub.Gap{Room: "room", Reason: hub.GapEvicted, From: at[1], To: at[5]})
		e.samePositions("the first page", positions(page.Messages), at[6:8])
		if !page.More {
			e.Error("no more")
		}
		page = e.read(hub.ReadRequest{Room: "room", From: at[7], Limit: 2})
		e.wantNoGap(page)
		e.samePositions("the second page", positions(page.Messages), at[8:])
	}},
	{"SlicesAreTheCallersOwn", func(e *env) {
		s := e.open(Options{})
		batch := []hub.Publish{message("room", "1"), message("room", "2"), e.keyed("room", "u", "k", "3")}
		results := s.Publish(e.ctx, batch)
		at := []hub.Position{results[0].Position, results[1].Position, results[2].Position}
		again := batch[2]
		clear(batch)
		clear(results)
		clear(e.all("room").Messages)
		e.samePositions("history", positions(e.all("room").Messages), at)
		if r := e.try(again); !r.Duplicate || r.Position != at[2] {
			e.Errorf("%+v", r)
		}
	}},
	{"Heads", func(e *env) {
		s := e.open(Options{})
		a, b := e.fill("a", 3), e.fill("b", 1)
		heads, err := s.Heads(e.ctx, []string{"b", "nothing", "a", "b"})
		if err != nil {
			e.Fatal(err)
		}
		e.samePositions("heads", heads, []hub.Position{b[0], {}, a[2], b[0]})
		if heads, err = s.Heads(e.ctx, nil); err != nil || len(heads) != 0 {
			e.Errorf("of no rooms: %v, %v", heads, err)
		}
		many := make([]string, 500)
		for i := range many {
			many[i] = fmt.Sprint("room", i)
		}
		many[499] = "a"
		if heads, err = s.Heads(e.ctx, many); err != nil || len(heads) != 500 || heads[499] != a[2] || !heads[0].IsZero() {
			e.Errorf("of 500 rooms: %d, %v", len(heads), err)
		}
	}},
	{"ReadersKeepThePosition", func(e *env) {
		e.open(Options{HistoryAge: e.span(1), RoomTTL: e.span(4)})
		at := e.fill("room", 2)
		for range 4 {
			e.pass(2)
			h := e.head("room")
			if h != at[1] {
				if e.b.RealTime && h.IsZero() {
					e.Skip("this machine is too slow for the unit: the position expired between two calls")
				}
				e.Fatalf("the position of a room with readers became %v", h)
			}
		}
		if p := e.must(message("room", "next")).Position; p.Epoch != at[0].Epoch || p.Offset != 3 {
			if !e.b.RealTime {
				e.Fatalf("the next message is at %v", p)
			}
		}
	}},
}

// sized is a text whose JSON string has n bytes.
func sized(n int) string {
	b := make([]byte, n-2)
	for i := range b {
		b[i] = 'x'
	}
	return string(b)
}
