package transporttest

import (
	"errors"
	"fmt"
	"strings"
)

// badLaws: bad input has a clear error, and nobody else hears of it.
func badLaws() []law {
	return []law{
		{name: "bad requests are refused with a reason", check: func(e *env, transport string) {
			witness := e.open(NDJSON, "lobby")
			many := make([]string, 10_000)
			for i := range many {
				many[i] = fmt.Sprintf("r%d", i)
			}
			for _, tt := range []struct {
				rooms string
				query []string
				code  string
				close int
			}{
				{"bad%20room", nil, "bad_room", 4410},
				{strings.Repeat("x", 201), nil, "bad_room", 4410},
				{"lobby,", nil, "bad_room", 4410},
				{"%C3%A9", nil, "bad_room", 4410},
				{strings.Join(many, ","), nil, "too_many_rooms", 4413},
				{"lobby", []string{"cursor=nonsense"}, "bad_cursor", 4411},
				{"lobby", []string{"cursor="}, "bad_cursor", 4411},
				{"lobby", []string{"cursor=lobby=a.01.b"}, "bad_cursor", 4411},
				{"lobby", []string{"cursor=lobby=0,lobby=0"}, "bad_cursor", 4411},
				{"a,b", []string{"cursor=0"}, "bad_cursor", 4411},
				{"lobby", []string{"cursor=" + strings.Repeat("x", 40_000)}, "bad_cursor", 4411},
				{"lobby", []string{"last=-1"}, "bad_parameter", 4412},
				{"lobby", []string{"last=1001"}, "bad_parameter", 4412},
				{"lobby", []string{"last=x"}, "bad_parameter", 4412},
				{"lobby", []string{"from=end"}, "bad_parameter", 4412},
				{"lobby", []string{"heartbeat=0"}, "bad_parameter", 4412},
				{"lobby", []string{"client=a b"}, "bad_parameter", 4412},
				{"lobby", []string{"format=xml"}, "bad_parameter", 4412},
				{"a,b", []string{"format=bare"}, "bad_parameter", 4412},
			} {
				r, err := e.tryOpen(transport, tt.rooms, tt.query...)
				if err == nil {
					e.Errorf("%.50s %.80v was taken: %+v", tt.rooms, tt.query, r.hello)
					continue
				}
				refused, ok := errors.AsType[*refusal](err)
				switch {
				case tt.query != nil && tt.query[0] == "format=bare" && transport == WS:
					// Bare: nothing but the close code.
					if closed, ok := errors.AsType[*closedError](err); !ok || closed.code != tt.close || !strings.HasPrefix(closed.reason, tt.code) {
						e.Errorf("%.50s %.80v: %v", tt.rooms, tt.query, err)
					}
				case !ok || refused.Code != tt.code || refused.Message == "":
					e.Errorf("%.50s %.80v: %v, want %s", tt.rooms, tt.query, err, tt.code)
				case transport == WS && refused.closeCode != tt.close, transport != WS && refused.status != 400:
					e.Errorf("%.50s %.80v: %+v, want %d", tt.rooms, tt.query, refused, tt.close)
				}
			}
			e.publish("lobby", `1`)
			witness.offsets("lobby", 1, 1)
		}},
		{name: "bad publishes are refused and nothing is lost", on: []string{}, check: func(e *env, _ string) {
			witness := e.open(SSE, "lobby")
			for _, tt := range []struct {
				path, mediaType, body string
				status                int
				code                  string
			}{
				{"/rooms/bad!", "", `1`, 400, "bad_room"},
				{"/rooms/lobby", "application/json", `{`, 400, "bad_json"},
				{"/rooms/lobby", "text/plain", "\xff", 400, "bad_utf8"},
				{"/rooms/lobby", "application/json", "\"\xff\"", 400, "bad_utf8"},
				{"/rooms/lobby", "", strings.Repeat("x", 65537), 413, "message_too_large"},
				{"/rooms/lobby?key=", "", `1`, 400, "bad_key"},
				{"/publish", "application/json", `[{"room":"lobby"`, 400, "bad_json"},
				{"/publish", "application/json", `7`, 400, "bad_json"},
				{"/publish", "application/json", "[" + strings.Repeat(`{"room":"lobby","data":1},`, 1000) + `{"room":"lobby","data":1}]`, 413, "batch_too_large"},
			} {
				q := requester{env: e}
				var headers []string
				if tt.mediaType != "" {
					headers = []string{"Content-Type: " + tt.mediaType}
				}
				a, err := q.do("POST", tt.path, headers, tt.body)
				if err != nil || a.status != tt.status || !strings.Contains(string(a.body), `{"protocol":1,"error":{"code":"`+tt.code+`"`) {
					e.Errorf("%s %.60q: %d %s, %v", tt.path, tt.body, a.status, a.body, err)
				}
				q.close()
			}
			e.publish("lobby", `"only"`)
			if ev := witness.next("message"); ev.Offset != 1 || string(ev.Data) != `"only"` {
				e.Errorf("got %+v", ev)
			}
		}},
		{name: "bad frames end their own connection only", on: []string{WS}, check: func(e *env, _ string) {
			witness := e.open(WS, "lobby")
			type row struct {
				frame []byte
				code  int // 0: the connection stays, and an error frame tells
			}
			rows := []row{
				{clientFrame(0x81, []byte("{")), 0},
				{clientFrame(0x81, []byte(`{"type":"fly"}`)), 0},
				{clientFrame(0x81, []byte(`{"type":"subscribe","rooms":["`+strings.Repeat(`r","`, 10_000)+`r"]}`)), -1},
				{clientFrame(0x81, []byte("\xff\xfe")), 1007},
				{clientFrame(0x82, []byte("{}")), 1003},
				{clientFrame(0x81, make([]byte, 1<<20+1))[:64], 1009},
				{[]byte{0x81, 0x02, '{', '}'}, 1002},
				{clientFrame(0xa1, []byte("{}")), 1002},
				{clientFrame(0x91, []byte("{}")), 1002},
			}
			if e.deflate {
				// What is compressed is bounded by what it says.
				rows = append(rows, row{clientFrame(0xc1, []byte("\xff\xff")), 1002},
					row{clientFrame(0xc1, deflate([]byte("{"))), 0}, row{clientFrame(0xc1, deflate([]byte("\xff\xfe"))), 1007},
					row{clientFrame(0xc1, deflate(make([]byte, 1<<20))), 0}, row{clientFrame(0xc1, deflate(make([]byte, 1<<20+1))), 1009})
			} else {
				rows = append(rows, row{clientFrame(0xc1, []byte("{}")), 1002})
			}
			for _, tt := range rows {
				r := e.open(WS, "lobby")
				p := r.pipe.(*wsPipe)
				if _, err := p.nc.Write(tt.frame); err != nil {
					e.Fatal(err)
				}
				switch {
				case tt.code == 0:
					if ev := r.next("error"); ev.Error.Code == "" {
						e.Errorf("%.40q: %+v", tt.frame, ev)
					}
				case tt.code > 0:
					r.next("bye")
					if code := r.ended(); code != tt.code {
						e.Errorf("%.40q: closed with %d, want %d", tt.frame, code, tt.code)
					}
				}
				r.close()
			}
			e.publish("lobby", `1`)
			witness.offsets("lobby", 1, 1)
		}},
	}
}
