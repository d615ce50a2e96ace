package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/culvertd/culvert/hub"
)

var keyLaws = []law{
	{"DuplicateGetsTheFirstResult", func(e *env) {
		s := e.open(Options{})
		w, _ := e.watch(s, "room")
		first := e.must(e.keyed("room", "u", "k", "data"))
		e.fill("room", 2)
		for range 3 {
			again := e.try(e.keyed("room", "u", "k", "data")) // with another message id
			want := first
			want.Duplicate = true
			if again != want {
				e.Fatalf("a repeat got %+v, want %+v", again, want)
			}
		}
		marker := e.must(message("room", "end"))
		e.wantHeard(w, marker.Position.ID)
		if n := len(w.heard()); n != 4 {
			e.Errorf("%d messages delivered, want 4", n)
		}
		if n := len(e.all("room").Messages); n != 4 {
			e.Errorf("%d messages in the history, want 4", n)
		}
	}},
	{"DuplicateWithinOneBatch", func(e *env) {
		s := e.open(Options{})
		a, b, c := e.keyed("room", "u", "k", "data"), e.keyed("room", "u", "k", "data"), e.keyed("room", "u", "k", "other")
		res := s.Publish(e.ctx, []hub.Publish{a, b, c, message("room", "next")})
		if res[0].Err != nil || res[0].Duplicate {
			e.Fatalf("the first: %+v", res[0])
		}
		// As two calls: the second may also be told that the first is under way.
		if !errors.Is(res[1].Err, hub.ErrKeyInProgress) {
			if res[1].Err != nil || !res[1].Duplicate || res[1].Position != res[0].Position {
				e.Errorf("the second: %+v, the first was %+v", res[1], res[0])
			}
			e.wantErr(res[2].Err, hub.ErrKeyConflict)
		}
		if res[3].Position.Offset != 2 {
			e.Errorf("the next: %+v", res[3])
		}
	}},
	{"SameKeyAtTheSameTimeAppliesOnce", func(e *env) {
		s := e.open(Options{})
		for round := range 20 {
			room := fmt.Sprint("room", round)
			const n = 8
			results := make([]hub.Result, n)
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() { results[i] = s.Publish(e.ctx, []hub.Publish{e.keyed(room, "u", "k", "data")})[0] })
			}
			wg.Wait()
			applied := 0
			for _, r := range results {
				switch {
				case errors.Is(r.Err, hub.ErrKeyInProgress):
				case r.Err != nil:
					e.Fatal(r.Err)
				case !r.Duplicate:
					applied++
				}
			}
			page := e.all(room)
			if applied != 1 || len(page.Messages) != 1 {
				e.Fatalf("%d were told that they applied it, %d messages: %+v", applied, len(page.Messages), results)
			}
			for _, r := range results {
				if r.Err == nil && r.Position != page.Head {
					e.Fatalf("a result says %v, the message is at %v", r.Position, page.Head)
				}
			}
		}
	}},
	{"OtherContentConflicts", func(e *env) {
		e.open(Options{})
		first := e.must(e.keyed("room", "u", "k", "data"))
		e.wantErr(e.try(e.keyed("room", "u", "k", "other")).Err, hub.ErrKeyConflict)
		flag := e.keyed("room", "u", "k", "data")
		flag.Ephemeral, flag.Fingerprint = true, fingerprint("data", true)
		e.wantErr(e.try(flag).Err, hub.ErrKeyConflict)
		// One bit of the fingerprint is enough, the first or the last.
		for _, i := range []int{0, 15} {
			p := e.keyed("room", "u", "k", "data")
			p.Fingerprint[i] ^= 1
			e.wantErr(e.try(p).Err, hub.ErrKeyConflict)
		}
		if h := e.head("room"); h != first.Position {
			e.Errorf("a conflict moved the head to %v", h)
		}
		if r := e.try(e.keyed("room", "u", "k", "data")); !r.Duplicate {
			e.Errorf("after conflicts the repeat got %+v", r)
		}
	}},
	{"OnlyTheFingerprintIsCompared", func(e *env) {
		e.open(Options{})
		e.must(e.keyed("room", "u", "k", "data"))
		changed := e.keyed("room", "u", "k", "data")
		changed.Data, changed.From = quote("what a hook made of it"), "somebody"
		if r := e.try(changed); r.Err != nil || !r.Duplicate {
			e.Fatalf("%+v", r)
		}
	}},
	{"KeysBelongToRoomAndSubject", func(e *env) {
		e.open(Options{})
		for _, p := range []hub.Publish{
			e.keyed("room", "u", "k", "1"),
			e.keyed("room", "v", "k", "2"),
			e.keyed("other", "u", "k", "3"),
			e.keyed("room", "", "k", "4"),
			e.keyed("room", "u", "K", "5"),
		} {
			e.must(p)
		}
		if r := e.try(e.keyed("room", "v", "k", "2")); !r.Duplicate || r.Position.Offset != 2 {
			e.Errorf("%+v", r)
		}
	}},
	{"KeyExpires", func(e *env) {
		e.open(Options{})
		short, long := e.keyed("room", "u", "short", "data"), e.keyed("room", "u", "long", "data")
		short.KeyTTL, long.KeyTTL = e.span(2), e.span(6)
		start := time.Now()
		e.must(short)
		first := e.must(long)
		e.pass(1)
		if r := e.try(short); e.within(start, 2) && !r.Duplicate {
			e.Fatalf("the key expired early: %+v", r)
		}
		e.pass(2)
		again := short
		again.ID = hub.NewMessageID()
		if r := e.must(again); r.Position.Offset != 3 {
			e.Fatalf("%+v", r)
		}
		if r := e.try(long); e.within(start, 6) && (!r.Duplicate || r.Position != first.Position) {
			e.Fatalf("the longer key expired early: %+v", r)
		}
		// A used key's second life counts from the second publish; and it is
		// the second one's content that it now stands for.
		e.pass(1)
		if r := e.try(again); !e.b.RealTime && (!r.Duplicate || r.Position.Offset != 3) {
			e.Fatalf("in its second life: %+v", r)
		}
	}},
	{"ExpiredKeyTakesOtherContent", func(e *env) {
		e.open(Options{})
		p := e.keyed("room", "u", "k", "data")
		p.KeyTTL = e.span(1)
		e.must(p)
		e.pass(2)
		q := e.keyed("room", "u", "k", "other")
		r := e.must(q)
		if again := e.try(q); !again.Duplicate || again.Position != r.Position {
			e.Fatalf("%+v", again)
		}
	}},
	{"ARepeatDoesNotProlongTheKey", func(e *env) {
		e.open(Options{})
		p := e.keyed("room", "u", "k", "data")
		p.KeyTTL = e.span(2)
		e.must(p)
		e.pass(1)
		e.try(p)
		e.pass(2)
		if r := e.must(e.keyed("room", "u", "k", "data")); r.Position.Offset != 2 {
			e.Fatalf("%+v", r)
		}
	}},
	{"KeyOutlivesItsMessage", func(e *env) {
		e.open(Options{HistoryMessages: 2, HistoryAge: e.span(1)})
		first := e.must(e.keyed("room", "u", "k", "data"))
		e.fill("room", 5)
		if r := e.try(e.keyed("room", "u", "k", "data")); !r.Duplicate || r.Position != first.Position {
			e.Fatalf("after eviction: %+v", r)
		}
		e.pass(2)
		if r := e.try(e.keyed("room", "u", "k", "data")); !r.Duplicate || r.Position != first.Position || r.Time != first.Time {
			e.Fatalf("after expiry: %+v", r)
		}
	}},
	{"KeyOutlivesItsRoom", func(e *env) {
		// While a key lives its publish must not take effect again, even where
		// nothing else would keep the room.
		e.open(Options{HistoryAge: e.span(1), RoomTTL: e.span(2)})
		p := e.keyed("room", "u", "k", "data")
		p.KeyTTL = e.span(12)
		start := time.Now()
		first := e.must(p)
		for range 3 {
			e.pass(3)
			if r := e.try(p); e.within(start, 12) && (!r.Duplicate || r.Position != first.Position) {
				e.Fatalf("%+v, the first was %+v", r, first)
			}
		}
		e.pass(4)
		p.ID = hub.NewMessageID()
		e.must(p)
	}},
	{"EphemeralWithKeyIsDeduplicated", func(e *env) {
		s := e.open(Options{})
		w, _ := e.watch(s, "room")
		p := e.keyed("room", "u", "k", "data")
		p.Ephemeral, p.Fingerprint = true, fingerprint("data", true)
		first := e.must(p)
		again := p
		again.ID = hub.NewMessageID()
		if r := e.try(again); r.Err != nil || !r.Duplicate || r.Position != (hub.Position{}) || r.Time != first.Time {
			e.Fatalf("%+v", r)
		}
		e.wantErr(e.try(e.keyed("room", "u", "k", "data")).Err, hub.ErrKeyConflict)
		marker := e.must(message("room", "end"))
		e.wantHeard(w, marker.Position.ID)
		if n := len(w.heard()); n != 2 {
			e.Errorf("%d messages delivered, want 2", n)
		}
	}},
	{"EphemeralKeyInARoomWithoutMessages", func(e *env) {
		e.open(Options{})
		p := e.keyed("room", "u", "k", "data")
		p.Ephemeral, p.Fingerprint = true, fingerprint("data", true)
		e.must(p)
		if r := e.try(p); r.Err != nil || !r.Duplicate {
			e.Fatalf("%+v", r)
		}
		if h := e.head("room"); !h.IsZero() {
			e.Fatalf("head %v", h)
		}
	}},
	{"FullMeansRefusedNeverEvicted", func(e *env) {
		e.open(Options{MaxKeys: 10})
		start := time.Now()
		var kept []hub.Publish
		for i := range 10 {
			p := e.keyed(fmt.Sprint("room", i%3), "u", fmt.Sprint("k", i), "data")
			p.KeyTTL = e.span(4)
			if i == 0 {
				p.KeyTTL = e.span(2)
			}
			e.must(p)
			kept = append(kept, p)
		}
		before := e.head("room0")
		refused := e.keyed("room0", "u", "one more", "data")
		e.wantErr(e.try(refused).Err, hub.ErrKeysFull)
		if h := e.head("room0"); h != before {
			e.Fatalf("the refused publish was applied: head %v, it was %v", h, before)
		}
		e.must(message("room0", "without a key"))
		for _, p := range kept {
			if r := e.try(p); e.within(start, 2) && !r.Duplicate {
				e.Fatalf("key %s: %+v", p.Key, r)
			}
		}
		e.pass(3) // one of them expires
		e.must(refused)
		if r := e.try(kept[1]); e.within(start, 4) && !r.Duplicate {
			e.Fatalf("%+v", r)
		}
	}},
	{"ARefusedPublishLeavesNoKey", func(e *env) {
		e.open(Options{HistoryBytes: 10_000})
		p := e.keyed("room", "u", "k", string(make([]byte, 9_999)))
		e.wantErr(e.try(p).Err, hub.ErrTooLarge)
		e.must(e.keyed("room", "u", "k", "smaller"))
	}},
}
