package transporttest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/culvertd/culvert/hub"
)

// lifeLaws: how connections last and end.
func lifeLaws() []law {
	return []law{
		{name: "a node that drains says so", check: func(e *env, transport string) {
			r := e.open(transport, "lobby")
			at := e.publish("lobby", `1`)
			r.next("message")
			done := make(chan error, 1)
			go func() { done <- e.hub.Drain(context.Background(), 10*time.Second) }()
			bye, err := r.try()
			if refused, ok := errors.AsType[*refusal](err); ok && transport == Poll && refused.Code == "draining" {
				// It did not wait when the drain began: it goes on elsewhere.
				bye = Event{Type: "bye", Code: refused.Code, Reconnect: "backoff", Cursor: r.cursor()}
			} else if err != nil {
				e.Fatal(err)
			}
			if bye.Type != "bye" || bye.Code != "draining" || bye.Reconnect != "backoff" || withoutMark(bye.Cursor) != "lobby="+at {
				e.Errorf("got %+v", bye)
			}
			if code := r.ended(); transport == WS && code != 4100 {
				e.Errorf("closed with %d", code)
			}
			r.close()
			if err := <-done; err != nil {
				e.Error(err)
			}
			if _, err := e.tryOpen(transport, "lobby"); err == nil {
				e.Error("a node that drains takes readers")
			}
		}},
		{name: "a poll that waits is answered when the node drains", on: []string{Poll}, virtual: true, check: func(e *env, _ string) {
			go func() {
				e.settle()
				e.hub.Drain(context.Background(), 10*time.Second)
			}()
			a := e.do("GET", "/rooms/lobby/poll?wait=20", "")
			if !strings.Contains(string(a.body), `"bye":{"type":"bye","code":"draining"`) || !strings.Contains(string(a.body), `"cursor":"lobby=0`) {
				e.Errorf("%d %s", a.status, a.body)
			}
		}},
		{name: "a silent connection lives by its heartbeats", virtual: true, check: func(e *env, transport string) {
			r := e.open(transport, "lobby")
			for range 40 { // of 15 s
				if ev, err := r.try(); err != nil || ev.Type != "heartbeat" {
					e.Fatalf("got %+v, %v", ev, err)
				}
			}
			e.publish("lobby", `1`)
			r.offsets("lobby", 1, 1)
		}},
		{name: "a poll waits as long as it is told", on: []string{Poll}, virtual: true, check: func(e *env, _ string) {
			for _, wait := range []int{0, 1, 55} {
				begin := time.Now()
				a := e.do("GET", "/rooms/lobby/poll?wait="+string(rune('0'+wait/10))+string(rune('0'+wait%10)), "")
				if took := time.Since(begin); a.status != 200 || took != time.Duration(wait)*time.Second {
					e.Errorf("wait=%d: %d after %v", wait, a.status, took)
				}
			}
			begin := time.Now()
			e.do("GET", "/rooms/lobby", "")
			if took := time.Since(begin); took != 20*time.Second {
				e.Errorf("without wait: %v", took)
			}
		}},
		{name: "who leaves is gone", check: func(e *env, transport string) {
			for range 20 {
				e.open(transport, "lobby").close()
			}
			for try := 0; ; try++ {
				e.settle()
				n := 0
				for _, subs := range e.hub.Stats().Subscribers {
					n += subs
				}
				if n == 0 {
					return
				}
				if e.bubble || try > 10_000 {
					e.Fatalf("%d subscribers are left", n)
				}
				time.Sleep(time.Millisecond)
			}
		}},
		{
			// The bounds on time are the HTTP server's, which the suite's user
			// sets up as cmd does: 10 s for a request's head.
			name: "half a request is not waited for", virtual: true, on: []string{}, check: func(e *env, _ string) {
				for _, part := range []string{
					"", "GET /rooms/lobby/sse HTTP/1.1\r\nHost: te", "POST /rooms/lobby HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n\"half",
					"POST /rooms/lobby/poll HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nwait=",
					"POST /publish HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[{\"",
				} {
					c, err := e.dial()
					if err != nil {
						e.Fatal(err)
					}
					io.WriteString(c, part)
					c.SetDeadline(time.Now().Add(5 * time.Minute))
					begin := time.Now()
					b, err := io.ReadAll(c)
					if err != nil || time.Since(begin) > 2*time.Minute {
						e.Errorf("%q: %v after %v", part, err, time.Since(begin))
					}
					if len(b) > 0 {
						if res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(b))), nil); err != nil || res.StatusCode < 400 {
							e.Errorf("%q: %q", part, b)
						}
					}
				}
				whole := e.open(WS, "lobby")
				e.publish("lobby", `"whole"`)
				if ev := whole.next("message"); string(ev.Data) != `"whole"` || ev.Offset != 1 {
					e.Errorf("got %+v", ev)
				}
			},
		},
		{
			name: "who never reads is let go", virtual: true, setup: Setup{Hub: hub.Options{WriteTimeout: 10 * time.Second}},
			check: func(e *env, transport string) {
				if transport == Poll {
					return // An answer that nobody reads is the HTTP server's affair.
				}
				path := "/rooms/lobby/" + map[string]string{WS: "ws", SSE: "sse", NDJSON: "stream"}[transport]
				var headers []string
				if transport == WS {
					headers = []string{
						"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
					}
				}
				c, err := e.dial()
				if err != nil {
					e.Fatal(err)
				}
				io.WriteString(c, requestText("GET", path, headers, ""))
				other := e.open(transport, "lobby")
				e.publish("lobby", `1`)
				other.offsets("lobby", 1, 1)
				time.Sleep(time.Minute)
				e.settle()
				n := 0
				for _, subs := range e.hub.Stats().Subscribers {
					n += subs
				}
				if n > 1 { // the other one, which has not read its heartbeats
					e.Errorf("%d subscribers are left", n)
				}
			},
		},
	}
}
