package storetest

import "github.com/culvertd/culvert/hub"

// otherID is an id that no message has.
const otherID = "zzzzzzzzzz"

var gapLaws = []law{
	{"NoneWhereNothingIsMissing", func(e *env) {
		e.open(Options{})
		at := e.fill("room", 5)
		for i, p := range append([]hub.Position{{}}, at...) {
			page := e.after("room", p)
			e.wantNoGap(page)
			e.samePositions("after "+p.String(), positions(page.Messages), at[i:])
		}
	}},
	{"UnknownRoom", func(e *env) {
		e.open(Options{})
		page := e.after("room", hub.Position{})
		if page.Gap != nil || page.More || len(page.Messages) > 0 || !page.Head.IsZero() || !page.Floor.IsZero() {
			e.Fatalf("%+v", page)
		}
		p := hub.Position{Epoch: hub.NewEpoch(1000), Offset: 7, ID: otherID}
		e.wantGap(e.after("room", p), hub.Gap{Room: "room", Reason: hub.GapLost, From: p})
		if h := e.head("room"); !h.IsZero() {
			e.Fatalf("reading made the room: %v", h)
		}
	}},
	{"Evicted", func(e *env) {
		e.open(Options{HistoryMessages: 4})
		at := e.fill("room", 10)
		for _, from := range []hub.Position{{}, at[0], at[4]} {
			page := e.after("room", from)
			e.wantGap(page, hub.Gap{Room: "room", Reason: hub.GapEvicted, From: from, To: at[5]})
			if missed := page.Gap.Missed(); missed != 6-from.Offset {
				e.Errorf("from %v %d are missed", from, missed)
			}
			e.samePositions("after the gap", positions(page.Messages), at[6:])
			if page.Floor != at[5] || page.Head != at[9] {
				e.Errorf("floor %v, head %v", page.Floor, page.Head)
			}
		}
	}},
	{"EvictedWithAnyID", func(e *env) {
		// The id of what has left cannot be checked any more: it is evicted,
		// whatever it was.
		e.open(Options{HistoryMessages: 4})
		at := e.fill("room", 10)
		from := at[2]
		from.ID = otherID
		e.wantGap(e.after("room", from), hub.Gap{Room: "room", Reason: hub.GapEvicted, From: from, To: at[5]})
	}},
	{"ExactlyAtTheFloor", func(e *env) {
		e.open(Options{HistoryMessages: 4})
		at := e.fill("room", 10)
		page := e.after("room", at[5])
		e.wantNoGap(page)
		e.samePositions("after the floor", positions(page.Messages), at[6:])

		forked := at[5]
		forked.ID = otherID
		page = e.after("room", forked)
		e.wantGap(page, hub.Gap{Room: "room", Reason: hub.GapFork, From: forked, To: at[5]})
		e.samePositions("after the fork", positions(page.Messages), at[6:])
	}},
	{"OtherEpoch", func(e *env) {
		e.open(Options{HistoryMessages: 4})
		at := e.fill("room", 10)
		// An older life of the room.
		from := hub.Position{Epoch: hub.NewEpoch(1000), Offset: 8, ID: otherID}
		page := e.after("room", from)
		e.wantGap(page, hub.Gap{Room: "room", Reason: hub.GapLost, From: from, To: at[5]})
		e.samePositions("after the gap", positions(page.Messages), at[6:])
		if page.Gap.Missed() != 0 {
			e.Errorf("a number of missed messages across epochs: %d", page.Gap.Missed())
		}
	}},
	{"OtherEpochBeforeAnyEviction", func(e *env) {
		e.open(Options{})
		at := e.fill("room", 3)
		from := hub.Position{Epoch: hub.NewEpoch(1000), Offset: 2, ID: otherID}
		page := e.after("room", from)
		e.wantGap(page, hub.Gap{Room: "room", Reason: hub.GapLost, From: from})
		e.samePositions("after the gap", positions(page.Messages), at)
	}},
	{"NewerEpochIsBehindOrLost", func(e *env) {
		// A store that may itself be behind says so; one that is the only
		// truth says lost. Neither is silent.
		s := e.open(Options{})
		at := e.fill("room", 3)
		birth, _ := hub.EpochBirth(at[0].Epoch)
		from := hub.Position{Epoch: hub.NewEpoch(birth + 1_000_000), Offset: 2, ID: otherID}
		page, err := s.Read(e.ctx, hub.ReadRequest{Room: "room", From: from, Limit: 10})
		if err != nil {
			e.wantErr(err, hub.ErrBehind)
			return
		}
		e.wantGap(page, hub.Gap{Room: "room", Reason: hub.GapLost, From: from})
		e.samePositions("after the gap", positions(page.Messages), at)
	}},
	{"PastTheHead", func(e *env) {
		e.open(Options{})
		at := e.fill("room", 3)
		from := hub.Position{Epoch: at[0].Epoch, Offset: 4, ID: otherID}
		page := e.after("room", from)
		e.wantGap(page, hub.Gap{Room: "room", Reason: hub.GapLost, From: from, To: at[2]})
		if len(page.Messages) > 0 || page.More {
			e.Errorf("%+v", page)
		}
		from.Offset = hub.MaxOffset
		e.wantGap(e.after("room", from), hub.Gap{Room: "room", Reason: hub.GapLost, From: from, To: at[2]})
	}},
	{"Fork", func(e *env) {
		e.open(Options{})
		at := e.fill("room", 5)
		for i, p := range at {
			from := p
			from.ID = otherID
			page := e.after("room", from)
			e.wantGap(page, hub.Gap{Room: "room", Reason: hub.GapFork, From: from, To: p})
			e.samePositions("after the fork", positions(page.Messages), at[i+1:])
		}
	}},
	{"EverythingEvicted", func(e *env) {
		e.open(Options{HistoryAge: e.span(1)})
		at := e.fill("room", 3)
		e.pass(2)
		page := e.after("room", at[2])
		e.wantNoGap(page)
		if len(page.Messages) > 0 || page.Head != at[2] || page.Floor != at[2] {
			e.Fatalf("%+v", page)
		}
		e.wantGap(e.after("room", at[1]), hub.Gap{Room: "room", Reason: hub.GapEvicted, From: at[1], To: at[2]})
		e.wantGap(e.after("room", hub.Position{}), hub.Gap{Room: "room", Reason: hub.GapEvicted, To: at[2]})
		next := e.must(message("room", "next")).Position
		if next.Offset != 4 || next.Epoch != at[0].Epoch {
			e.Fatalf("the order began anew at %v after %v", next, at[2])
		}
		page = e.after("room", at[2])
		e.wantNoGap(page)
		e.samePositions("after the old head", positions(page.Messages), []hub.Position{next})
	}},
	{"BeforeHasTheSameGaps", func(e *env) {
		e.open(Options{HistoryMessages: 4})
		at := e.fill("room", 10)
		before := func(p hub.Position) hub.Page {
			return e.read(hub.ReadRequest{Room: "room", Mode: hub.ReadBefore, From: p})
		}
		past := hub.Position{Epoch: at[0].Epoch, Offset: 11, ID: otherID}
		page := before(past)
		e.wantGap(page, hub.Gap{Room: "room", Reason: hub.GapLost, From: past, To: at[9]})
		e.samePositions("before the head", positions(page.Messages), at[6:9])

		fork := at[8]
		fork.ID = otherID
		page = before(fork)
		e.wantGap(page, hub.Gap{Room: "room", Reason: hub.GapFork, From: fork, To: at[8]})
		e.samePositions("before the fork", positions(page.Messages), at[6:8])

		page = before(at[2])
		e.wantGap(page, hub.Gap{Room: "room", Reason: hub.GapEvicted, From: at[2], To: at[5]})
		if len(page.Messages) > 0 || page.More {
			e.Errorf("before an evicted position: %+v", page)
		}
		lost := hub.Position{Epoch: hub.NewEpoch(1000), Offset: 8, ID: otherID}
		page = before(lost)
		e.wantGap(page, hub.Gap{Room: "room", Reason: hub.GapLost, From: lost, To: at[5]})
		if len(page.Messages) > 0 {
			e.Errorf("before a lost position: %+v", page)
		}
	}},
}
