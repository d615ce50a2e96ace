package storetest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/culvertd/culvert/hub"
)

var twoNodeLaws = []law{
	{"OneOrder", func(e *env) {
		a, b := e.openTwo(Options{})
		wa, _ := e.watch(a, "room")
		wb, _ := e.watch(b, "room")
		const publishers, each = 4, 50
		var wg sync.WaitGroup
		for i := range publishers {
			wg.Go(func() {
				s := []hub.Store{a, b}[i%2]
				for j := range each {
					if r := s.Publish(e.ctx, []hub.Publish{message("room", fmt.Sprint(i, j))})[0]; r.Err != nil {
						e.Error(r.Err)
					}
				}
			})
		}
		wg.Wait()
		page, other := e.readOn(a, hub.ReadRequest{Room: "room"}), e.readOn(b, hub.ReadRequest{Room: "room"})
		e.samePositions("history of the second", positions(other.Messages), positions(page.Messages))
		for i, m := range page.Messages {
			if m.Offset != uint64(i+1) {
				e.Fatalf("message %d is at %v", i, m.Position())
			}
		}
		if len(page.Messages) != publishers*each {
			e.Fatalf("%d messages", len(page.Messages))
		}
		for _, w := range []*recorder{wa, wb} {
			if !w.wait(func() bool { return len(w.msgs) >= publishers*each || w.resynced }) {
				e.Fatalf("%d of %d heard", len(w.heard()), publishers*each)
			}
		}
	}},
	{"PublishedHereHeardThere", func(e *env) {
		a, b := e.openTwo(Options{})
		w, _ := e.watch(b, "room")
		p := message("room", "for all")
		e.mustOn(a, p)
		ephemeral := message("room", "now")
		ephemeral.Ephemeral = true
		e.mustOn(a, ephemeral)
		e.wantHeard(w, p.ID)
		e.wantHeard(w, ephemeral.ID)
		m := w.heard()[0]
		if want := e.readOn(a, hub.ReadRequest{Room: "room"}).Messages[0]; m.Position() != want.Position() || m.Time != want.Time || string(m.Data) != string(want.Data) || m.From != want.From {
			e.Errorf("heard %+v, the history has %+v", m, want)
		}
	}},
	{"ReadableThereAtOnce", func(e *env) {
		a, b := e.openTwo(Options{})
		var last hub.Position
		for i := range 20 {
			at := e.mustOn([]hub.Store{a, b}[i%2], message("room", "x")).Position
			page := e.readOn([]hub.Store{b, a}[i%2], hub.ReadRequest{Room: "room", From: last})
			e.wantNoGap(page)
			e.samePositions("after the last", positions(page.Messages), []hub.Position{at})
			last = at
		}
	}},
	{"KeysAreShared", func(e *env) {
		a, b := e.openTwo(Options{})
		first := e.mustOn(a, e.keyed("room", "u", "k", "data"))
		first.Duplicate = true
		if r := e.tryOn(b, e.keyed("room", "u", "k", "data")); r != first {
			e.Errorf("%+v, want %+v", r, first)
		}
		e.wantErr(e.tryOn(b, e.keyed("room", "u", "k", "other")).Err, hub.ErrKeyConflict)
		p := e.keyed("room", "u", "short", "data")
		p.KeyTTL = e.span(1)
		e.mustOn(b, p)
		e.pass(2)
		e.mustOn(a, e.keyed("room", "u", "short", "other"))
	}},
	{"SameKeyOnBothAppliesOnce", func(e *env) {
		a, b := e.openTwo(Options{})
		for round := range 20 {
			room := fmt.Sprint("room", round)
			results := make([]hub.Result, 8)
			var wg sync.WaitGroup
			for i := range results {
				wg.Go(func() {
					results[i] = []hub.Store{a, b}[i%2].Publish(e.ctx, []hub.Publish{e.keyed(room, "u", "k", "data")})[0]
				})
			}
			wg.Wait()
			applied := 0
			for _, r := range results {
				if r.Err != nil && !errors.Is(r.Err, hub.ErrKeyInProgress) {
					e.Fatal(r.Err)
				}
				if r.Err == nil && !r.Duplicate {
					applied++
				}
			}
			if n := len(e.all(room).Messages); applied != 1 || n != 1 {
				e.Fatalf("applied %d times, %d messages", applied, n)
			}
		}
	}},
	{"GapsAreTheSame", func(e *env) {
		a, b := e.openTwo(Options{HistoryMessages: 3})
		e.store = a
		at := e.fill("room", 8)
		for _, s := range []hub.Store{a, b} {
			e.wantGap(e.readOn(s, hub.ReadRequest{Room: "room", From: at[1]}), hub.Gap{Room: "room", Reason: hub.GapEvicted, From: at[1], To: at[4]})
			fork := at[6]
			fork.ID = otherID
			e.wantGap(e.readOn(s, hub.ReadRequest{Room: "room", From: fork}), hub.Gap{Room: "room", Reason: hub.GapFork, From: fork, To: at[6]})
		}
	}},
	{"PresenceIsShared", func(e *env) {
		a, b := e.openTwo(Options{})
		w, _ := e.watch(b, "room")
		e.renew(e.lease("c", "a", ample)) // on a
		e.store = b
		e.renew(e.lease("c", "b", ample))
		e.renew(e.lease("d", "b", ample))
		for _, s := range []hub.Store{a, b} {
			e.store = s
			e.wantPresent("c", "d")
		}
		e.store = a
		e.release(e.lease("c", "a", ample))
		e.wantPresent("c", "d")
		e.store = b
		e.release(e.lease("c", "b", ample))
		e.store = a
		e.wantPresent("d")
		events := e.wantEvents(w, 3)
		for i, want := range []string{"+c 1", "+d 2", "-c 1"} {
			e.wantEvent(events[i], want)
		}
	}},
	{"ADeadNodesLeasesExpire", func(e *env) {
		a, b := e.openTwo(Options{})
		w, _ := e.watch(b, "room")
		e.renew(e.lease("c", "a", 1))
		a.Close()
		e.store = b
		e.renew(e.lease("d", "b", ample))
		e.pass(2)
		e.renew(e.lease("d", "b", ample))
		e.wantPresent("d")
		e.wantEvent(e.wantEvents(w, 3)[2], "-c 1")
	}},
	{"OneClosesTheOtherGoesOn", func(e *env) {
		a, b := e.openTwo(Options{})
		w, _ := e.watch(b, "room")
		first := e.mustOn(a, e.keyed("room", "u", "k", "data"))
		if err := a.Close(); err != nil {
			e.Fatal(err)
		}
		if r := e.tryOn(b, e.keyed("room", "u", "k", "data")); !r.Duplicate || r.Position != first.Position {
			e.Errorf("%+v", r)
		}
		p := e.mustOn(b, message("room", "x")).Position
		if p.Offset != 2 || p.Epoch != first.Position.Epoch {
			e.Errorf("the order goes on at %v after %v", p, first.Position)
		}
		e.wantHeard(w, p.ID)
	}},
}
