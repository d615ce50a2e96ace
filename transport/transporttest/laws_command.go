package transporttest

import (
	"encoding/json"
	"fmt"
	"strings"
)

// command sends a WebSocket command.
func (r *reader) command(text string) {
	r.env.Helper()
	if err := r.pipe.(*wsPipe).send(0x81, []byte(text)); err != nil {
		r.env.Fatal(err)
	}
}

// commandLaws: what a WebSocket can do while it is connected.
func commandLaws() []law {
	return []law{
		{name: "joined rooms follow the reply, left ones end with it", on: []string{WS}, check: func(e *env, _ string) {
			e.publishMany("b", 1, 5)
			r := e.open(WS, "a")
			r.places["b"], r.rooms = "0", append(r.rooms, "b")
			r.command(`{"type":"subscribe","ref":1,"room":"b","last":2}`)
			reply := r.next("reply")
			if !reply.OK || string(reply.Ref) != "1" {
				e.Fatalf("got %+v", reply)
			}
			r.setCursor(reply.Cursor)
			r.offsets("b", 4, 5)
			r.command(`{"type":"unsubscribe","ref":2,"rooms":["b"]}`)
			left := r.next("reply")
			e.publish("b", `6`)
			e.publish("a", `1`)
			r.offsets("a", 1, 1)
			// Back where it left, and on every other transport too.
			r.command(`{"type":"subscribe","ref":3,"room":"b","cursor":"` + left.Cursor + `"}`)
			if back := r.next("reply"); back.Cursor != left.Cursor {
				e.Errorf("left at %s, back at %s", left.Cursor, back.Cursor)
			}
			r.offsets("b", 6, 6)
			for _, transport := range Transports() {
				again := e.open(transport, "a,b", "cursor="+r.cursor())
				e.publish("b", `7`)
				ev := again.next("message")
				if ev.Room != "b" || string(ev.Data) != "7" {
					e.Errorf("%s: got %+v", transport, ev)
				}
				if ev := r.next("message"); string(ev.Data) != "7" {
					e.Errorf("got %+v", ev)
				}
			}
		}},
		{name: "commands are carried out in order", on: []string{WS}, check: func(e *env, _ string) {
			r := e.open(WS, "lobby")
			go func() {
				for i := range 300 {
					text := fmt.Sprintf(`{"type":"publish","ref":%d,"room":"other","data":%d,"key":"k%d"}`, i, i, i)
					if r.pipe.(*wsPipe).send(0x81, []byte(text)) != nil {
						return
					}
				}
			}()
			for i := range 300 {
				ev := r.next("reply")
				if !ev.OK || string(ev.Ref) != fmt.Sprint(i) || ev.Offset != uint64(i+1) {
					e.Fatalf("%d: %+v", i, ev)
				}
			}
			check := e.open(NDJSON, "other", "from=start")
			check.offsets("other", 1, 300)
		}},
		{name: "every publish has its result", on: []string{WS}, check: func(e *env, _ string) {
			r := e.open(WS, "lobby")
			r.command(`{"type":"publish","ref":"r","messages":[{"room":"x","data":1,"key":"k"},{"room":"no!","data":2},{"room":"x","data":3,"key":"k"},{"data":4}]}`)
			message, reply := Event{}, Event{}
			for reply.Type == "" || message.Type == "" {
				ev, err := r.try()
				switch {
				case err != nil:
					e.Fatal(err)
				case ev.Type == "reply":
					reply = ev
				case ev.Type == "message":
					message = ev
				}
			}
			if string(message.Data) != "4" || len(reply.Results) != 4 {
				e.Fatalf("got %+v and %+v", message, reply)
			}
			for i, want := range []int{201, 400, 422, 201} {
				var result struct{ Status int }
				if err := json.Unmarshal(reply.Results[i], &result); err != nil || result.Status != want {
					e.Errorf("%d: %s", i, reply.Results[i])
				}
			}
		}},
		{name: "a client that sends without pause delays nobody", on: []string{WS}, check: func(e *env, _ string) {
			other := e.open(WS, "lobby")
			flood := e.open(WS, "flood")
			go func() {
				text := []byte(`{"type":"ping","ref":1,"size":60000,"data":"` + strings.Repeat("x", 1000) + `"}`)
				for flood.pipe.(*wsPipe).send(0x81, text) == nil {
				}
			}()
			for i := range 100 {
				e.publish("lobby", fmt.Sprint(i))
				other.offsets("lobby", uint64(i+1), uint64(i+1))
			}
			for range 20 {
				if ev := flood.next("reply"); len(ev.Fill) != 60000 {
					e.Fatalf("%d bytes of filling", len(ev.Fill))
				}
			}
			flood.close()
		}},
	}
}
