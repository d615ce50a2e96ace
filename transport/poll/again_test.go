package poll_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/transport/conn"
	"github.com/culvertd/culvert/transport/poll"
)

// Of polls that are alike in all that decides, the HTTP server's handler sees
// the first ones; of all others it sees each. Whoever answers, the answers are
// the same.
func TestHandlerSees(t *testing.T) {
	const rounds = 10
	same := func(line string) func(int) string { return func(int) string { return line } }
	for name, tt := range map[string]struct {
		header func(round int) string
		query  string
		debug  bool
		all    bool
	}{
		"alike":                   {header: same("")},
		"another cookie":          {header: func(i int) string { return fmt.Sprintf("Cookie: s=%d\r\nUser-Agent: %d\r\n", i, i) }},
		"an origin":               {header: same("Origin: http://a.example\r\n")},
		"each another origin":     {header: func(i int) string { return fmt.Sprintf("Origin: http://%d.example\r\n", i) }, all: true},
		"each another own header": {header: func(i int) string { return fmt.Sprintf("X-Own: %d\r\n", i) }, all: true},
		"authorization":           {header: same("Authorization: Bearer x\r\n"), all: true},
		"a parameter of others":   {header: same(""), query: "&token=x", all: true},
		"told of at debug level":  {header: same(""), debug: true, all: true},
		"from Last-Event-ID":      {header: same("Last-Event-ID: a=0\r\n"), all: true},
	} {
		t.Run(name, func(t *testing.T) {
			var o poll.Options
			if tt.debug {
				o.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
			}
			r := newRigWith(t, o)
			c := r.dial()
			cursor := "a=0"
			r.publish("a", "0")
			for i := range rounds {
				header := tt.header(i)
				c.send("GET /rooms/a?wait=20&n=" + fmt.Sprint(i) + "&cursor=" + cursor + tt.query + " HTTP/1.1\r\nHost: test\r\n" + header + "\r\n")
				if i > 0 && !strings.HasPrefix(header, "Last") {
					r.waits(1)
					r.parks(1)
					r.publish("a", fmt.Sprint(i))
				}
				res, body := c.response()
				if !strings.Contains(body, fmt.Sprintf(`"data":%d`, i)) && !strings.HasPrefix(header, "Last") {
					t.Fatalf("round %d: %s", i, body)
				}
				origin, _ := strings.CutPrefix(strings.TrimSpace(header), "Origin: ")
				if got := res.Header.Get("Access-Control-Allow-Origin"); strings.HasPrefix(header, "Origin") && got != origin || res.Header.Get("X-Test") != "yes" || res.StatusCode != 200 {
					t.Fatalf("round %d: %d %v", i, res.StatusCode, res.Header)
				}
				cursor = body[strings.Index(body, `"cursor":"`)+10:]
				cursor = cursor[:strings.IndexByte(cursor, '"')]
			}
			// One that is answered at once leaves its connection with the HTTP
			// server; the next is parked; the third is the first to be remembered.
			seen := r.seen.Load()
			if tt.all != (seen == rounds) || !tt.all && seen != 3 {
				t.Errorf("the handler has seen %d of %d", seen, rounds)
			}
		})
	}
}

// An answer that goes out in pieces is whole before the next request on the
// connection is answered, whenever that comes.
func TestNextDuringAnswer(t *testing.T) {
	r := newRigWith(t, poll.Options{Tuning: conn.Tuning{SendBuffer: 4096}})
	c := r.dial()
	c.get("/rooms/a?wait=20&cursor=a=0")
	big := `"` + strings.Repeat("x", 200<<10) + `"`
	for i := range 5 {
		r.waits(1)
		for range 30 { // more than the connection takes at once
			r.publish("b", big)
		}
		r.publish("a", big)
		time.Sleep(20 * time.Millisecond) // the answer is under way
		c.get("/rooms/b?wait=0&from=start&limit=1")
		answer := c.poll()
		if len(answer.Messages) != 1 || string(answer.Messages[0].Data) != big {
			t.Fatalf("round %d: %d messages", i, len(answer.Messages))
		}
		if a := c.poll(); len(a.Messages) != 1 || string(a.Messages[0].Data) != big {
			t.Fatalf("round %d: %d messages", i, len(a.Messages))
		}
		c.get("/rooms/a?wait=20&cursor=" + answer.Cursor)
	}
	if n := r.hub.Stats().Subscribers["poll"]; n > 1 {
		t.Errorf("%d polls wait", n)
	}
}

// Polls that wait at the same place share an answer, in each form.
func TestSharedAnswer(t *testing.T) {
	r := newRig(t)
	const clients = 30
	queries := []string{"", "&format=bare", "&client=x"}
	cursor := "a=0"
	all := make([]*client, clients)
	for i := range all {
		all[i] = r.dial()
	}
	for round := range 10 {
		for i, c := range all {
			c.get("/rooms/a?wait=50&limit=100&cursor=" + cursor + queries[i%len(queries)])
		}
		r.waits(clients)
		r.publish("a", fmt.Sprint(round))
		for i, c := range all {
			res, body := c.response()
			bare := fmt.Sprintf(`"messages":[%d]`, round)
			if n := strings.Count(body, `"data":`); res.StatusCode != 200 || strings.Contains(body, bare) != (i%3 == 1) || i%3 == 0 && n != 1 {
				t.Fatalf("round %d, client %d: %s", round, i, body)
			}
			if i%3 == 0 {
				cursor = body[strings.Index(body, `"cursor":"`)+10:]
				cursor = cursor[:strings.IndexByte(cursor, '"')]
			}
		}
	}
}
