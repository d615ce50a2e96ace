package storetest

import (
	"fmt"
	"sync"

	"github.com/culvertd/culvert/hub"
)

var orderLaws = []law{
	{"OffsetsAreGaplessFromOne", func(e *env) {
		e.open(Options{})
		at := e.fill("room", 20)
		for i, p := range at {
			if p.Offset != uint64(i+1) || p.Epoch != at[0].Epoch {
				e.Fatalf("publish %d got %v, the first one %v", i+1, p, at[0])
			}
		}
		page := e.all("room")
		e.samePositions("history", positions(page.Messages), at)
		if page.Head != at[19] || page.Floor != (hub.Position{}) {
			e.Fatalf("head %v, floor %v", page.Head, page.Floor)
		}
	}},
	{"MessagesComeBackAsPublished", func(e *env) {
		s := e.open(Options{})
		w, _ := e.watch(s, "room")
		big := make([]byte, 20_000)
		for i := range big {
			big[i] = 'a' + byte(i%26)
		}
		var sent []hub.Publish
		for _, data := range []string{`{}`, `"\u0000\r\n"`, `"é漢\ud83d\ude00 😀"`, `[1,2.5e300,null]`, `"` + string(big) + `"`, `0`} {
			sent = append(sent, hub.Publish{Room: "room", ID: hub.NewMessageID(), From: "user:ü\n|1", Data: []byte(data)})
		}
		sent = append(sent, hub.Publish{Room: "room", ID: hub.NewMessageID(), Data: []byte(`"nobody"`)})
		results := s.Publish(e.ctx, sent)
		e.wantHeard(w, sent[len(sent)-1].ID)
		for name, msgs := range map[string][]*hub.Message{"read": e.all("room").Messages, "heard": w.heard()} {
			if len(msgs) != len(sent) {
				e.Fatalf("%s: %d messages of %d", name, len(msgs), len(sent))
			}
			for i, m := range msgs {
				p := sent[i]
				if m.Room != "room" || m.ID != p.ID || m.From != p.From || string(m.Data) != string(p.Data) {
					e.Errorf("%s: message %d: got %+v (data %.60q), sent %+v", name, i, m, m.Data, p)
				}
				if m.Position() != results[i].Position || m.Time != results[i].Time {
					e.Errorf("%s: message %d is at %v, %d; the result said %+v", name, i, m.Position(), m.Time, results[i])
				}
			}
		}
	}},
	{"ConcurrentPublishersMakeOneOrder", func(e *env) {
		s := e.open(Options{})
		w, _ := e.watch(s, "room")
		const publishers, each = 8, 50
		var mu sync.Mutex
		byOffset := map[uint64]string{}
		var wg sync.WaitGroup
		for range publishers {
			wg.Go(func() {
				last := uint64(0)
				for i := range each {
					p := message("room", fmt.Sprint(i))
					res := s.Publish(e.ctx, []hub.Publish{p})[0]
					mu.Lock()
					if res.Err != nil || res.Position.Offset <= last || byOffset[res.Position.Offset] != "" {
						e.Errorf("publish got %+v after offset %d; that offset had %q", res, last, byOffset[res.Position.Offset])
					}
					last = res.Position.Offset
					byOffset[last] = p.ID
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		page := e.all("room")
		if len(page.Messages) != publishers*each {
			e.Fatalf("%d messages of %d", len(page.Messages), publishers*each)
		}
		var lastTime int64
		for i, m := range page.Messages {
			if m.Offset != uint64(i+1) || byOffset[m.Offset] != m.ID || m.Epoch != page.Head.Epoch {
				e.Fatalf("message %d is %v, its publisher was told %q", i, m.Position(), byOffset[m.Offset])
			}
			if m.Time < lastTime {
				e.Fatalf("time goes back at offset %d: %d after %d", m.Offset, m.Time, lastTime)
			}
			lastTime = m.Time
		}
		if !w.wait(func() bool { return len(w.msgs) >= publishers*each || w.resynced }) {
			e.Fatalf("%d of %d delivered", len(w.heard()), publishers*each)
		}
	}},
	{"RoomsAreIndependent", func(e *env) {
		e.open(Options{})
		a := e.fill("a", 3)
		b := e.fill("b", 2)
		if a[0].Offset != 1 || b[0].Offset != 1 || a[0].Epoch == b[0].Epoch {
			e.Fatalf("a begins at %v, b at %v", a[0], b[0])
		}
		e.samePositions("a", positions(e.all("a").Messages), a)
		e.samePositions("b", positions(e.all("b").Messages), b)
	}},
	{"BatchIsInOrderAndIndependent", func(e *env) {
		s := e.open(Options{HistoryBytes: 10_000})
		e.must(e.keyed("a", "u", "used", "first"))
		batch := []hub.Publish{
			message("a", "1"),
			message("b", "2"),
			e.keyed("a", "u", "used", "other content"),
			{Room: "a", ID: hub.NewMessageID(), Data: quote(string(make([]byte, 9_999)))},
			message("a", "3"),
			e.keyed("a", "u", "used", "first"),
			message("b", "4"),
		}
		res := s.Publish(e.ctx, batch)
		if len(res) != len(batch) {
			e.Fatalf("%d results for %d", len(res), len(batch))
		}
		e.wantErr(res[2].Err, hub.ErrKeyConflict)
		e.wantErr(res[3].Err, hub.ErrTooLarge)
		for i, want := range map[int]uint64{0: 2, 1: 1, 4: 3, 5: 1, 6: 2} {
			if res[i].Err != nil || res[i].Position.Offset != want || res[i].Duplicate != (i == 5) {
				e.Errorf("element %d: %+v, want offset %d", i, res[i], want)
			}
		}
		if h := e.head("a"); h != res[4].Position {
			e.Errorf("head of a is %v", h)
		}
	}},
	{"LargeBatch", func(e *env) {
		s := e.open(Options{})
		batch := make([]hub.Publish, 900)
		for i := range batch {
			batch[i] = message(fmt.Sprint("room", i%3), fmt.Sprint(i))
		}
		for i, r := range s.Publish(e.ctx, batch) {
			if r.Err != nil || r.Position.Offset != uint64(i/3+1) || r.Position.ID != batch[i].ID {
				e.Fatalf("element %d: %+v", i, r)
			}
		}
		if res := s.Publish(e.ctx, nil); len(res) != 0 {
			e.Fatalf("%d results for an empty batch", len(res))
		}
	}},
	{"NewEpochSortsAfterTheOld", func(e *env) {
		e.open(Options{HistoryAge: e.span(1), RoomTTL: e.span(2)})
		old := e.must(message("room", "old")).Position
		e.pass(4)
		if h := e.head("room"); !h.IsZero() {
			e.Fatalf("the room is still known, at %v", h)
		}
		e.wantGap(e.after("room", old), hub.Gap{Room: "room", Reason: hub.GapLost, From: old})
		p := e.must(message("room", "new")).Position
		if p.Offset != 1 || p.Epoch <= old.Epoch {
			e.Fatalf("the new life begins at %v, the old one was %v", p, old)
		}
		page := e.after("room", old)
		e.wantGap(page, hub.Gap{Room: "room", Reason: hub.GapLost, From: old})
		e.samePositions("after the gap", positions(page.Messages), []hub.Position{p})
	}},
	{"EphemeralHasNoPlace", func(e *env) {
		s := e.open(Options{})
		w, _ := e.watch(s, "room")
		p := message("room", "now or never")
		p.Ephemeral = true
		e.must(p)
		first := e.must(message("room", "kept"))
		q := message("room", "once more")
		q.Ephemeral = true
		res := e.must(q)
		if first.Position.Offset != 1 {
			e.Fatalf("an ephemeral message took an offset: the next is %v", first.Position)
		}
		if res.Time < first.Time {
			e.Errorf("its time is %d, before %d", res.Time, first.Time)
		}
		e.wantHeard(w, p.ID)
		e.wantHeard(w, q.ID)
		for _, m := range w.heard() {
			if m.ID == p.ID && (!m.Ephemeral() || m.Epoch != "" || string(m.Data) != string(p.Data) || m.From != p.From || m.Room != "room") {
				e.Errorf("heard %+v", m)
			}
		}
		e.samePositions("history", positions(e.all("room").Messages), []hub.Position{first.Position})
	}},
}
