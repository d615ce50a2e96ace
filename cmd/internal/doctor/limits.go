package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// filters finds what is taken out of requests, and which requests are not let
// through.
func (d *doctor) filters(ctx context.Context) {
	d.step(ctx, "headers", "Headers of requests", func() (State, string) {
		sent := []string{"Authorization", "Idempotency-Key", "Last-Event-ID"}
		var headers, lost []string
		for _, name := range sent {
			headers = append(headers, name, "doctor")
		}
		e, a, err := d.tryEcho(ctx, http.MethodGet, "", "", headers...)
		if err != nil {
			return Skipped, a.words()
		}
		for _, name := range sent {
			if e.Headers[strings.ToLower(name)] == nil {
				lost = append(lost, name)
			}
		}
		if len(lost) > 0 {
			d.find("headers_stripped", "names", strings.Join(lost, ", "))
			return Note, "removed: " + strings.Join(lost, ", ")
		}
		return Good, "all arrive"
	})
	d.step(ctx, "methods", "Methods", func() (State, string) {
		var lost []string
		for _, method := range []string{http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
			a := d.ask(ctx, d.o.Patience, method, d.once("/doctor/echo"), "")
			if a.err == nil && a.status >= 500 || a.err != nil {
				a = d.ask(ctx, d.o.Patience, method, d.once("/doctor/echo"), "")
			}
			if a.err != nil || a.status != http.StatusOK {
				lost = append(lost, method)
			}
		}
		if len(lost) > 0 {
			d.find("methods_blocked", "names", strings.Join(lost, ", "))
			return Note, "blocked: " + strings.Join(lost, ", ")
		}
		return Good, "all pass"
	})
	d.step(ctx, "addresses", "Long addresses", func() (State, string) {
		for _, n := range []int{1500, 7500} {
			if e := d.insist(ctx, http.MethodGet, "?x="+strings.Repeat("x", n), ""); e.Target < n {
				d.find("url_limit", "bytes", n)
				return Note, fmt.Sprintf("none of %d bytes", n)
			}
		}
		return Good, "pass"
	})
	d.step(ctx, "bodies", "Long bodies", func() (State, string) {
		if !d.canPost {
			return Skipped, noPost
		}
		for _, n := range []int{4 << 10, 32 << 10} {
			if e := d.insist(ctx, http.MethodPost, "", strings.Repeat("x", n), "Content-Type", "text/plain"); e.Body < n {
				d.find("body_limit", "bytes", n)
				return Note, fmt.Sprintf("none of %d bytes", n)
			}
		}
		return Good, "pass"
	})
}

// Why tests are not made.
const (
	noPost      = "POST does not get through"
	noWebSocket = "there is no WebSocket"
	noStream    = "no stream flows"
	didNotOpen  = "it did not open"
)

// insist asks for an echo more often where requests were lost before: there, a
// few failures say nothing of what was in the request.
func (d *doctor) insist(ctx context.Context, method, query, body string, headers ...string) echo {
	more := 0
	if d.failed > 0 || d.report.Has("answers_lost") {
		more = 2
	}
	for ; ; more-- {
		e, a, err := d.tryEcho(ctx, method, query, body, headers...)
		if err == nil || refusal(a) || more == 0 {
			return e
		}
	}
}

// wantedConnections is how many requests at a time are tried: more than a
// person's tabs need.
const wantedConnections = 8

// connections finds how many requests may wait at the same time: those that the
// server counts as present in a room.
func (d *doctor) connections(ctx context.Context) {
	d.step(ctx, "connections", "Requests at the same time", func() (State, string) {
		ctx, cancel := context.WithCancel(ctx)
		var all sync.WaitGroup
		defer all.Wait()
		defer cancel()
		room := d.room(fmt.Sprintf("many%d", d.lives))
		for i := range wantedConnections {
			path := d.once(fmt.Sprintf("/rooms/%s/poll?wait=20&client=c%d", room, i))
			all.Go(func() {
				for try := 0; try < 3 && ctx.Err() == nil; try++ { // until it is ended, or because it failed
					d.ask(ctx, 20*time.Second, http.MethodGet, fmt.Sprintf("%s&try=%d", path, try), "")
				}
			})
		}
		count := 0
		for until := time.Now().Add(d.o.Patience); time.Now().Before(until); {
			a := d.ask(ctx, d.o.Patience, http.MethodGet, d.once("/rooms/"+room+"/presence?limit=0"), "")
			var told struct{ Count int }
			if a.err == nil && a.status == http.StatusOK && json.Unmarshal(a.body, &told) == nil {
				count = told.Count
			}
			if count >= wantedConnections || !pause(ctx, 100*time.Millisecond) {
				break
			}
		}
		d.crowded = count < 4
		if count < wantedConnections {
			d.find("connections", "count", count, "wanted", wantedConnections)
			return Note, fmt.Sprintf("%d of %d", count, wantedConnections)
		}
		return Good, fmt.Sprintf("%d of %d", count, wantedConnections)
	})
}

// clockOff is from where on tokens that live a minute would suffer.
const clockOff = 30 * time.Second

func (d *doctor) clock(ctx context.Context) {
	d.step(ctx, "clock", "Clock", func() (State, string) {
		e, a, err := d.tryEcho(ctx, http.MethodGet, "", "")
		if err != nil {
			return Skipped, a.words()
		}
		off := time.Since(time.UnixMilli(e.Time)) - a.took/2
		if off.Abs() > clockOff {
			d.find("clock", "seconds", seconds(off.Abs()))
			return Note, seconds(off.Abs()) + " s apart"
		}
		return Good, "agrees with the server's"
	})
}
