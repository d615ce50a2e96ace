package transporttest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/culvertd/culvert/hub"
)

// readingLaws: what is published arrives, once, in one order, on every room.
func readingLaws() []law {
	return []law{
		{name: "the first bytes come at once", check: func(e *env, transport string) {
			r := e.open(transport, "lobby", "client=me")
			if r.hello.Protocol != 1 || r.hello.Cursor != "lobby=0" && transport != Poll || r.cursor() != "lobby=0" {
				e.Errorf("hello is %+v", r.hello)
			}
			if transport != Poll && (r.hello.Client != "me" || r.hello.Heartbeat <= 0 || !slices.Equal(r.hello.Rooms, []string{"lobby"})) {
				e.Errorf("hello is %+v", r.hello)
			}
			if transport == SSE && r.hello.sseID != "lobby=0" {
				e.Errorf("the id of hello is %q", r.hello.sseID)
			}
		}},
		{name: "live messages come in order, the same for all", check: func(e *env, transport string) {
			a, b := e.open(transport, "lobby"), e.open(WS, "lobby")
			e.publish("lobby", `{"text":"hello"}`)
			e.publish("lobby", `plain text`)
			e.publishMany("lobby", 3, 300)
			for want := uint64(1); want <= 302; want++ {
				x, y := a.next("message"), b.next("message")
				if x.Offset != want || x.Room != "lobby" || x.ID == "" || x.Epoch == "" || x.Time == 0 || string(x.Data) != string(y.Data) || x.ID != y.ID || x.Epoch != y.Epoch || x.Time != y.Time {
					e.Fatalf("%d: %+v and %+v", want, x, y)
				}
				switch {
				case want == 1 && string(x.Data) != `{"text":"hello"}`, want == 2 && string(x.Data) != `"plain text"`:
					e.Errorf("%d: %s", want, x.Data)
				}
			}
		}},
		{name: "several rooms on one connection", check: func(e *env, transport string) {
			r := e.open(transport, "b,a,c,a")
			var want []string
			for i := range 30 {
				room := string(rune('a' + i%3))
				want = append(want, room+" "+e.publish(room, fmt.Sprint(i)))
			}
			var got []string
			offsets := map[string]uint64{}
			for range 30 {
				ev := r.next("message")
				offsets[ev.Room]++
				if ev.Offset != offsets[ev.Room] {
					e.Errorf("room %s: %d, want %d", ev.Room, ev.Offset, offsets[ev.Room])
				}
				got = append(got, ev.Room+" "+r.places[ev.Room])
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				e.Errorf("got %v, want %v", got, want)
			}
			// Each room goes on at its own place.
			at := r.cursor()
			r.close()
			for _, room := range []string{"c", "a", "b"} {
				e.publish(room, `"later"`)
			}
			again := e.open(transport, "b,a,c", "cursor="+at)
			for range 3 {
				if ev := again.next("message"); string(ev.Data) != `"later"` || ev.Offset != 11 {
					e.Errorf("got %+v", ev)
				}
			}
		}},
		{name: "messages without history come to who is connected", check: func(e *env, transport string) {
			r := e.open(transport, "lobby")
			e.publish("lobby", `1`)
			if a := e.do("POST", "/rooms/lobby?ephemeral=1", `2`); a.status != 201 {
				e.Fatalf("%d %s", a.status, a.body)
			}
			e.publish("lobby", `3`)
			r.offsets("lobby", 1, 1)
			if ev := r.next("message"); !ev.Ephemeral || ev.Offset != 0 || ev.Epoch != "" || string(ev.Data) != "2" || ev.ID == "" {
				e.Errorf("got %+v", ev)
			}
			r.offsets("lobby", 2, 2)
			late := e.open(transport, "lobby", "from=start")
			late.offsets("lobby", 1, 2)
		}},
		{name: "a publish with a key is delivered once", check: func(e *env, transport string) {
			r := e.open(transport, "lobby")
			first := e.do("POST", "/rooms/lobby?key=k", `1`)
			second := e.do("POST", "/rooms/lobby?key=k", ` 1`)
			third := e.do("POST", "/rooms/lobby?key=k", `2`)
			if first.status != 201 || second.status != 200 || third.status != 422 || !strings.Contains(string(second.body), `"duplicate":true`) {
				e.Errorf("%d %d %s %d", first.status, second.status, second.body, third.status)
			}
			e.publish("lobby", `"end"`)
			r.offsets("lobby", 1, 1)
			if ev := r.next("message"); ev.Offset != 2 || string(ev.Data) != `"end"` {
				e.Errorf("got %+v", ev)
			}
		}},
		{name: "a large message arrives whole", check: func(e *env, transport string) {
			r := e.open(transport, "lobby")
			text := strings.Repeat("\u00e9\u2028\U0001f600", 65536/9)
			e.publish("lobby", text)
			e.publish("lobby", `"after"`)
			if ev := r.next("message"); string(ev.Data) != `"`+text+`"` {
				e.Errorf("%d bytes came as %d", len(text), len(ev.Data))
			}
			r.offsets("lobby", 2, 2)
		}},
		{name: "a frozen reader harms nobody", check: checkFrozen},
		{
			name: "a frozen reader is ended as slow and resumes", on: []string{WS, SSE, NDJSON},
			setup: Setup{Hub: hub.Options{WriteTimeout: time.Second}, HistoryBytes: 64 << 20, HistoryMessages: 5000},
			check: checkSlow,
		},
	}
}

// checkFrozen: one reader reads nothing while much is published. The others
// get it all; and when it reads again, so does it.
func checkFrozen(e *env, transport string) {
	frozen := e.open(transport, "lobby")
	var others []*reader
	for _, other := range Transports() {
		others = append(others, e.open(other, "lobby"))
	}
	filling := strings.Repeat("x", 3000)
	for range 250 {
		e.publish("lobby", filling)
	}
	for _, other := range others {
		other.offsets("lobby", 1, 250)
	}
	frozen.offsets("lobby", 1, 250)
}

// checkSlow: past the write time-out the reader is cut off. What it had got is
// whole, and from there it goes on.
func checkSlow(e *env, transport string) {
	frozen := e.open(transport, "lobby")
	other := e.open(WS, "lobby")
	filling := strings.Repeat("x", 10_000)
	for i := range uint64(400) { // More than sockets hold.
		e.publish("lobby", filling)
		other.offsets("lobby", i+1, i+1) // as it comes: it must not be slow itself
	}
	begin := time.Now()
	for e.hub.Stats().Slow == 0 {
		// Nothing tells a client that reads nothing.
		if time.Sleep(10 * time.Millisecond); time.Since(begin) > patience {
			e.Fatal("nobody was ended as slow")
		}
	}
	read := uint64(0)
	for {
		ev, err := frozen.try()
		if err != nil {
			break
		}
		if ev.Type != "message" || ev.Offset != read+1 {
			e.Fatalf("after %d: %+v", read, ev)
		}
		read++
	}
	if read >= 400 {
		e.Fatalf("it got all %d", read)
	}
	again := e.open(transport, "lobby", "cursor="+frozen.cursor())
	again.offsets("lobby", read+1, 400)
}
