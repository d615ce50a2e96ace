package transporttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/culvertd/culvert/hub"
)

// formLaws: the other ways to ask, and the bare form.
func formLaws() []law {
	return []law{
		{name: "the bare form is the data alone", check: func(e *env, transport string) {
			// From the start: a bare WebSocket does not tell when it reads.
			bare := e.openBare(transport, "from=start")
			e.publish("lobby", `{"a": [1, "x"]}`)
			e.publish("lobby", "two\nlines \"of\" text")
			e.publish("lobby", `null`)
			want := []string{`{"a":[1,"x"]}`, "two\nlines \"of\" text", `null`}
			if transport == NDJSON || transport == Poll {
				want[1] = `"two\nlines \"of\" text"`
			}
			for _, w := range want {
				if got := bare(); got != w {
					e.Errorf("got %q, want %q", got, w)
				}
			}
		}},
		{
			name: "a gap in the bare form", setup: Setup{HistoryMessages: 3, Hub: hub.Options{LogMessages: 2}},
			check: func(e *env, transport string) {
				at := e.publish("lobby", `1`)
				e.publishMany("lobby", 2, 9)
				bare := e.openBare(transport, "cursor="+at)
				switch got := bare(); {
				case transport == WS:
					if !strings.HasPrefix(got, "closed: 4001 gap") {
						e.Errorf("got %q", got)
					}
					return
				case !strings.HasPrefix(got, `{"type":"gap","room":"lobby","reason":"evicted","from":"lobby=`+at+`"`):
					e.Errorf("got %q", got)
				}
				if got := bare(); got != `{"n":8}` {
					e.Errorf("after the gap came %q", got)
				}
			},
		},
		{name: "the parameters may be in a body", on: []string{SSE, NDJSON, Poll}, check: func(e *env, transport string) {
			e.publishMany("lobby", 1, 5)
			last := map[string]string{SSE: "sse", NDJSON: "stream", Poll: "poll"}[transport]
			for _, tt := range []struct{ path, mediaType, body string }{
				{"/rooms/lobby/" + last, "text/plain;charset=UTF-8", "last=2&client=x"},
				{"/rooms/lobby/" + last, "application/x-www-form-urlencoded", "last=2&nonce=%26"},
				{"/rooms/lobby/" + last, "application/json", `{"last":2,"nonce":{}}`},
				{"/rooms/lobby/" + last + "?last=4", "text/plain", "last=2"},
			} {
				headers := []string{"Content-Type: " + tt.mediaType}
				if transport == Poll {
					q := requester{env: e}
					a, err := q.do("POST", tt.path, headers, tt.body)
					var body pollAnswer
					if err == nil {
						err = json.Unmarshal(a.body, &body)
					}
					if err != nil || len(body.Messages) != 2 {
						e.Errorf("%s %q: %v %d %s", tt.path, tt.body, err, a.status, a.body)
					}
					q.close()
					continue
				}
				p, err := e.send(transport, requestText("POST", tt.path, headers, tt.body))
				if err != nil {
					e.Fatalf("%s %q: %v", tt.path, tt.body, err)
				}
				var got []uint64
				for len(got) < 2 {
					ev, err := p.next()
					if err != nil {
						e.Fatalf("%s %q: %v", tt.path, tt.body, err)
					}
					if ev.Type == "message" {
						got = append(got, ev.Offset)
					}
				}
				if fmt.Sprint(got) != "[4 5]" {
					e.Errorf("%s %q: %v", tt.path, tt.body, got)
				}
				p.close()
			}
		}},
	}
}

// openBare opens a bare reader of the room lobby and returns what reads its
// next value, gap or end.
func (e *env) openBare(transport, param string) func() string {
	e.Helper()
	name, value, _ := strings.Cut(param, "=")
	query := url.Values{"format": {"bare"}, name: {value}}
	if transport == Poll {
		return e.pollBare(query)
	}
	p, err := e.connect(transport, "lobby", query)
	if err != nil {
		e.Fatal(err)
	}
	switch p := p.(type) {
	case *wsPipe:
		return func() string {
			for {
				opcode, payload, err := p.frame()
				switch {
				case err != nil:
					e.Fatal(err)
				case opcode == 8:
					return (&closedError{code: int(payload[0])<<8 | int(payload[1]), reason: string(payload[2:])}).Error()
				case opcode == 1:
					return string(payload)
				}
			}
		}
	case *ssePipe:
		return func() string {
			var lines []string
			for {
				line, err := p.br.ReadString('\n')
				if err != nil {
					e.Fatal(err)
				}
				if data, ok := strings.CutPrefix(line, "data: "); ok {
					lines = append(lines, strings.TrimSuffix(data, "\n"))
				}
				if line == "\n" && lines != nil {
					return strings.Join(lines, "\n")
				}
			}
		}
	case *linePipe:
		return func() string {
			for {
				line, err := p.br.ReadString('\n')
				if err != nil {
					e.Fatal(err)
				}
				if line != "\n" { // an empty line is a heartbeat
					return strings.TrimSuffix(line, "\n")
				}
			}
		}
	}
	e.Fatal(errors.ErrUnsupported)
	return nil
}

func (e *env) pollBare(query url.Values) func() string {
	query.Set("wait", "0") // to have a cursor before anything is published
	if query.Has("cursor") {
		query.Set("wait", "20")
	}
	q := requester{env: e}
	var queue []string
	ask := func() {
		a, err := q.do("GET", "/rooms/lobby/poll?"+query.Encode(), nil, "")
		var body struct {
			Messages, Gaps []json.RawMessage
			Cursor         string
		}
		if err == nil {
			err = json.Unmarshal(a.body, &body)
		}
		if err != nil {
			e.Fatalf("%v %s", err, a.body)
		}
		for _, text := range append(body.Gaps, body.Messages...) {
			queue = append(queue, string(text))
		}
		query.Set("cursor", body.Cursor)
		query.Set("wait", "20")
	}
	ask()
	return func() string {
		for len(queue) == 0 {
			ask()
		}
		first := queue[0]
		queue = queue[1:]
		return first
	}
}
