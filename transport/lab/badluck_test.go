//go:build linux

package lab

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/culvertd/culvert/transport/middlebox"
)

// TestBadLuck lets a path that worked answer nonsense, or nothing, for a while.
// Nothing may be lost, the client may not ask in a tight loop meanwhile, and in
// the end it is back where it was.
func TestBadLuck(t *testing.T) {
	t.Parallel()
	all := runtimes(t)
	const outage = 8 * time.Second
	// A back-off that has grown for so long may wait about as long again.
	const patience = 20 * time.Second
	answers := func(a *middlebox.Answer) func(*middlebox.Box) {
		return func(b *middlebox.Box) {
			_ = b.Set(middlebox.Options{Answer: a})
			b.Cut()
		}
	}
	var judge judge
	t.Run("rows", func(t *testing.T) {
		for _, c := range []struct {
			name    string
			breaks  func(*middlebox.Box)
			traffic int
		}{
			{"captive portal", answers(middlebox.CaptivePortal()), 1},
			{"407", answers(middlebox.ProxyAuthRequired()), 0},
			{"429 with Retry-After", answers(middlebox.Busy(429, 2*time.Second, 0)), 1},
			{"503 with Retry-After", answers(middlebox.Busy(503, 2*time.Second, 0)), 1},
			{"502", answers(middlebox.Busy(502, 0, 0)), 1},
			{"an array of somebody else's", answers(&middlebox.Answer{Status: 200, Body: `[{"type":"message","room":"x","offset":1}]`}), 1},
			{"half of an answer", answers(&middlebox.Answer{Status: 200, Body: `{"protocol":1,"messages":[{"type":"mess`}), 1},
			{"everything is forgotten, again and again", func(b *middlebox.Box) {
				_ = b.Set(middlebox.Options{ForgetAfter: time.Millisecond})
				b.Freeze()
			}, 1},
			{"1,000 publishes while the network is away", answers(middlebox.Busy(502, 0, 0)), 1000},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				judge.row(t, c.name, func(t *testing.T) []finding {
					return together(t, all, func(t *testing.T, rt runtime) finding {
						ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
						defer cancel()
						s := startServer(t, "--history-messages", "5000")
						p := box(t, s.host, middlebox.Options{})
						b := p.boxes[0]
						e := &trial{ctx: ctx, path: p, direct: &path{url: s.url}, runtime: rt, reach: []string{"websocket"}, every: 10 * time.Millisecond,
							traffic: c.traffic, back: true, breaks: func() { c.breaks(b) }, notices: patience}
						e.lasts = func() {
							before := b.Stats().Requests
							pause(ctx, outage)
							if n := b.Stats().Requests - before; n > mostRequests {
								t.Errorf("%d requests in %v", n, outage)
							}
							_ = b.Set(middlebox.Options{})
						}
						f := e.exchange(t)
						f.Table, f.Row = "Networks that break and come back (noticed: after they came back)", c.name
						return f
					})
				})
			})
		}
	})
	judge.again(t)
}

// mostRequests in an outage of eight seconds: every way of reading may be tried
// a few times, with a growing pause between.
const mostRequests = 40

// TestRestarts restarts the server ten times in a minute. Its memory is lost each
// time, so there are gaps; but the client does not fall back to polls for good
// and does not ask in a tight loop.
func TestRestarts(t *testing.T) {
	t.Parallel()
	all := runtimes(t)
	for _, rt := range all {
		t.Run(rt.name(), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
			defer cancel()
			port := freePort(t)
			host := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
			serve := func() *process {
				p := start(t, directory(t), built.get(t), "serve", "--listen", host, "--reconnect-spread", "1s")
				if err := p.ready(port); err != nil {
					t.Fatal(err)
				}
				return p
			}
			server := serve()
			p := box(t, host, middlebox.Options{})
			k := task{URL: p.url, Room: "restarts", Messages: 1, Patience: 60_000, Late: 1, Reach: []string{"websocket"}, Settle: 60_000, Back: true}
			client, err := rt.begin(t, p, k)
			if err != nil {
				t.Fatal(err)
			}
			defer client.finish()
			e := &trial{ctx: ctx, direct: &path{url: "http://" + host}}
			word := func(what string) word {
				t.Helper()
				w, err := client.wait(ctx, what)
				if err != nil {
					t.Fatal(err)
				}
				return w
			}
			word("ready")
			e.send(t, k.Room, 0)
			client.goOn()
			word("ready")
			client.goOn()
			before := p.boxes[0].Stats().Requests
			began := time.Now()
			for range 10 {
				pause(ctx, 4*time.Second)
				server.stop()
				pause(ctx, time.Second)
				server = serve()
			}
			restarts := time.Since(began)
			if n := p.boxes[0].Stats().Requests - before; n > 200 {
				t.Errorf("%d requests in %v", n, restarts)
			} else {
				t.Logf("%d requests in %v", n, restarts)
			}
			e.send(t, k.Room, 1)
			began = time.Now()
			word("arrival")
			noticed := time.Since(began)
			r := word("report").Report
			if r.Back != "websocket" {
				t.Errorf("at the end it came to %s: %v", r.Back, r.States)
			}
			found(t, finding{Table: "Networks that break and come back (noticed: after they came back)", Order: 1, Row: "server restarts ten times in a minute",
				Runtime: rt.name(), Transport: r.Back, First: elapsed(r.First), Noticed: noticed, Ledger: "its memory is lost"})
		})
	}
}
