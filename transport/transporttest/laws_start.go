package transporttest

import (
	"fmt"
	"strings"
)

// startLaws: where reading starts, and that it goes on anywhere.
func startLaws() []law {
	return []law{
		{name: "every rule of where to start", check: checkStarts},
		{name: "a header beats the cursor", on: []string{SSE, NDJSON, Poll}, check: func(e *env, transport string) {
			var at [4]string
			for i := 1; i <= 3; i++ {
				at[i] = e.publish("lobby", fmt.Sprint(i))
			}
			q := requester{env: e}
			a, err := q.do("GET", "/rooms/lobby/poll?wait=0&cursor=0", []string{"Last-Event-ID: lobby=" + at[2]}, "")
			if err != nil || strings.Contains(string(a.body), `"offset":2`) || !strings.Contains(string(a.body), `"offset":3`) {
				e.Errorf("%s, %v", a.body, err)
			}
		}},
		{name: "resume after any message", check: func(e *env, transport string) {
			r := e.open(transport, "lobby")
			e.publishMany("lobby", 1, 10)
			for last := uint64(1); last <= 10; last++ {
				if ev := r.next("message"); ev.Offset != last {
					e.Fatalf("got %d, want %d", ev.Offset, last)
				}
				for _, cursor := range []string{r.cursor(), r.places["lobby"]} {
					again := e.open(transport, "lobby", "cursor="+cursor)
					again.offsets("lobby", last+1, 10)
					again.close()
				}
			}
		}},
		{name: "a connection that breaks before its first message loses nothing", check: func(e *env, transport string) {
			for i, room := range []string{"new", "old"} {
				if i == 1 {
					e.publish(room, `"before"`)
				}
				r := e.open(transport, room)
				r.close()
				e.publish(room, `"meanwhile"`)
				again := e.open(transport, room, "cursor="+r.cursor())
				if ev := again.next("message"); string(ev.Data) != `"meanwhile"` {
					e.Errorf("%s: got %+v", room, ev)
				}
			}
		}},
		{name: "a heartbeat has the cursor", check: func(e *env, transport string) {
			r := e.open(transport, "lobby", "heartbeat=1", "wait=1")
			if transport == Poll {
				r.close()
				p, err := newPollPipe(e, "/rooms/lobby/poll", nil)
				if err != nil {
					e.Fatal(err)
				}
				if a, err := p.ask("1"); err != nil || len(a.Messages) != 0 || a.Cursor == "" || a.Time == 0 {
					e.Errorf("%+v, %v", a, err)
				}
				return
			}
			at := e.publish("lobby", `1`)
			r.next("message")
			ev := r.next("heartbeat")
			if ev.Cursor != "lobby="+at || ev.Time == 0 {
				e.Errorf("got %+v", ev)
			}
		}},
	}
}

func checkStarts(e *env, transport string) {
	var at [6]string
	for i := 1; i <= 5; i++ {
		at[i] = e.publish("lobby", fmt.Sprint(i))
	}
	other := e.publish("other", `"o1"`)
	for _, tt := range []struct {
		rooms string
		query []string
		want  []uint64
	}{
		{"lobby", nil, nil},
		{"lobby", []string{"last=0"}, nil},
		{"lobby", []string{"last=2"}, []uint64{4, 5}},
		{"lobby", []string{"last=5"}, []uint64{1, 2, 3, 4, 5}},
		{"lobby", []string{"last=1000"}, []uint64{1, 2, 3, 4, 5}},
		{"lobby", []string{"from=start"}, []uint64{1, 2, 3, 4, 5}},
		{"lobby", []string{"from=start", "last=1"}, []uint64{5}},
		{"lobby", []string{"cursor=0"}, []uint64{1, 2, 3, 4, 5}},
		{"lobby", []string{"cursor=" + at[3]}, []uint64{4, 5}},
		{"lobby", []string{"cursor=lobby=" + at[3], "last=5", "from=start"}, []uint64{4, 5}},
		{"lobby", []string{"cursor=lobby=" + at[5]}, nil},
		{"lobby", []string{"cursor=gone=0,lobby=" + at[4]}, []uint64{5}},
		{"other,lobby", []string{"cursor=other=" + other, "last=2"}, []uint64{4, 5}},
		{"other,lobby", []string{"cursor=other=" + other, "from=start"}, []uint64{1, 2, 3, 4, 5}},
		{"other,lobby", []string{"cursor=other=" + other}, nil},
	} {
		r := e.open(transport, tt.rooms, tt.query...)
		for _, want := range tt.want {
			if ev := r.next("message"); ev.Room != "lobby" || ev.Offset != want {
				e.Errorf("%s %v: got %s %d, want %d", tt.rooms, tt.query, ev.Room, ev.Offset, want)
			}
		}
		// Nothing more: the next is what is published now.
		mark := `"` + fmt.Sprint(tt.query) + `"`
		e.do("POST", "/rooms/lobby?ephemeral=1", mark)
		if ev := r.next("message"); string(ev.Data) != mark {
			e.Errorf("%s %v: got %s %d as well", tt.rooms, tt.query, ev.Room, ev.Offset)
		}
		r.close()
	}
}
