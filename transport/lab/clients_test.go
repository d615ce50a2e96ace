//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/culvertd/culvert/transport/middlebox"
)

// bar is the time to the first message beyond two round trips that the client
// promises; allowance is for a machine that does other things as well.
const (
	bar       = 500 * time.Millisecond
	allowance = 1500 * time.Millisecond
)

// runtimes starts what runs the client. A runtime that is missing is nil.
func runtimes(t *testing.T) []runtime {
	t.Helper()
	clientFile(t)
	program(t, "node")
	program(t, "chromium")
	return []runtime{newNode(t), newChromium(t)}
}

// TestClients shows, for every row and for the client in Node and in Chromium,
// that 40 messages in each direction arrive whole, once and in order, and which
// transport it came to.
func TestClients(t *testing.T) {
	all := runtimes(t)
	for i, r := range rows {
		t.Run(r.title(), func(t *testing.T) {
			t.Parallel()
			if r.namespace && inNamespace(t) {
				return
			}
			s := startServer(t)
			p := r.start(t, s.host)
			for _, rt := range all {
				if p.proxy != nil && rt.name() == "node" {
					continue // its fetch knows no proxies
				}
				t.Run(rt.name(), func(t *testing.T) {
					t.Parallel()
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
					defer cancel()
					e := &trial{ctx: ctx, path: p, direct: &path{url: s.url}, runtime: rt, reach: r.reaches(), every: 50 * time.Millisecond}
					f := e.exchange(t)
					f.Table, f.Order, f.Row = "Every row of the catalogue", 1000*r.number+i, r.title()
					if r.number == 0 {
						f.Order += 1_000_000
					}
					found(t, f)
				})
			}
		})
	}
}

// reaches are the transports of which the client should come to one.
func (r row) reaches() []string {
	if r.does[ws] == "" {
		return []string{"websocket"}
	}
	for _, f := range streams {
		if r.does[f] == "" {
			return []string{"sse", "websocket"}
		}
	}
	return []string{"poll"}
}

// trial is a client on a path.
type trial struct {
	ctx     context.Context
	path    *path
	direct  *path // to the server, nothing between
	runtime runtime
	reach   []string      // nil: anything
	every   time.Duration // between messages

	// For silence: when the client has what came before, silence is called, and
	// the time to the next message is taken. traffic: the client publishes then.
	silence func()
	traffic bool
	wait    time.Duration // from silence to that message
}

// exchange sends 40 messages each way, and checks that they arrive.
func (e *trial) exchange(t *testing.T) finding {
	t.Helper()
	room := fmt.Sprintf("%s-%d", e.runtime.name(), nonce.Add(1))
	k := task{URL: e.path.url, Room: room, Messages: messages, Every: int(e.every.Milliseconds()), Patience: 60_000, Reach: e.reach, Settle: 15_000, Traffic: e.traffic}
	if e.silence != nil {
		k.Late = 1
		if e.traffic {
			k.Late = 2
		}
	}
	release, err := takeSlot(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	client, err := e.runtime.begin(t, e.path, k)
	if err != nil {
		t.Fatal(err)
	}
	defer client.finish()
	if _, err := client.wait(e.ctx, "ready"); err != nil {
		t.Fatal(err)
	}
	roundTrip := e.path.roundTrip(t)
	e.send(t, room, 0)
	client.goOn()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := 1; i < messages; i++ {
			pause(e.ctx, e.every)
			e.send(t, room, i)
		}
	}()
	if _, err := client.wait(e.ctx, "first"); err != nil {
		t.Error(err)
	}
	release()
	<-sent
	var noticed time.Duration
	if e.silence != nil {
		noticed = e.notice(t, client, room)
	}
	w, err := client.wait(e.ctx, "report")
	if err != nil || w.Report == nil {
		t.Fatalf("no report: %v", err)
	}
	l := e.check(t, room, w.Report)
	first := elapsed(w.Report.First)
	if first > bar+2*roundTrip+allowance {
		t.Errorf("the first message came after %v, with a round trip of %v", first, roundTrip)
	}
	if e.reach != nil && !slices.Contains(e.reach, w.Report.Transport) {
		t.Errorf("the client came to %q, not one of %v", w.Report.Transport, e.reach)
	}
	if t.Failed() || testing.Verbose() {
		t.Logf("transport %s, first %v, took %v, states %v", w.Report.Transport, first, elapsed(w.Report.Took), w.Report.States)
	}
	return finding{Runtime: e.runtime.name(), Transport: w.Report.Transport, First: first, RoundTrip: roundTrip, Noticed: noticed, Ledger: l.String()}
}

func (e *trial) send(t *testing.T, room string, i int) {
	if _, err := e.direct.publishOnce(e.ctx, room, fmt.Sprint("down", i), fmt.Sprintf(`{"down":%d}`, i)); err != nil && e.ctx.Err() == nil {
		t.Error(err)
	}
}

// notice calls silence and takes the time to the next message.
func (e *trial) notice(t *testing.T, client *run, room string) time.Duration {
	t.Helper()
	if _, err := client.wait(e.ctx, "ready"); err != nil { // it has published everything
		t.Error(err)
		return 0
	}
	e.silence()
	began := time.Now()
	client.goOn()
	pause(e.ctx, e.wait)
	e.send(t, room, messages)
	for {
		w, err := client.wait(e.ctx, "arrival")
		if err != nil {
			t.Error(err)
			return 0
		}
		if w.Data.Down != nil && *w.Data.Down == messages {
			return time.Since(began)
		}
	}
}

// roundTrip is the middle one of three plain requests, each on a connection of
// its own.
func (p *path) roundTrip(t *testing.T) time.Duration {
	t.Helper()
	var times []time.Duration
	for range 3 {
		began := time.Now()
		resp, done, err := p.do(t.Context(), http.MethodGet, fmt.Sprintf("%s/healthz?n=%d", p.url, nonce.Add(1)), "", "")
		if err != nil {
			continue // paths that lose requests
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		done()
		times = append(times, time.Since(began))
	}
	if len(times) == 0 {
		t.Error("no plain request passes")
		return 0
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	return times[len(times)/2]
}

// check compares what the client and the server have with what was sent.
func (e *trial) check(t *testing.T, room string, r *report) ledger {
	t.Helper()
	for _, f := range r.Failures {
		t.Error(f)
	}
	if r.Gaps != 0 {
		t.Errorf("%d gaps", r.Gaps)
	}
	down, up := messages, messages
	if e.silence != nil {
		down++
	}
	if e.traffic {
		up++
	}
	var downs, ups, acks, kept []int
	for i, a := range r.Arrivals {
		if a.Offset != int64(i+1) {
			t.Errorf("arrival %d has offset %d", i, a.Offset)
			break
		}
	}
	for _, a := range r.Arrivals {
		switch {
		case a.Data.Down != nil:
			downs = append(downs, *a.Data.Down)
		case a.Data.Up != nil:
			ups = append(ups, *a.Data.Up)
		}
	}
	for _, a := range r.Acks {
		if a.Data.Up != nil && a.Offset > 0 {
			acks = append(acks, *a.Data.Up)
		}
	}
	h, err := e.direct.history(e.ctx, room)
	if err != nil {
		t.Error(err)
	}
	for _, m := range h {
		var i item
		if json.Unmarshal(m.Data, &i) == nil && i.Up != nil {
			kept = append(kept, *i.Up)
		}
	}
	var sum ledger
	for _, c := range []struct {
		what string
		got  []int
		want int
	}{{"messages from elsewhere", downs, down}, {"own messages", ups, up}, {"answers to publishes", acks, up}, {"messages kept by the server", kept, up}} {
		l := audit(c.got, c.want)
		if !l.clean() {
			t.Errorf("%s: lost/repeated/out of order %v", c.what, l)
		}
		sum.lost, sum.repeated, sum.disordered = max(sum.lost, l.lost), max(sum.repeated, l.repeated), max(sum.disordered, l.disordered)
	}
	if len(h) != down+up {
		t.Errorf("the server keeps %d messages, not %d", len(h), down+up)
	}
	return sum
}

// comparison are the paths on which Socket.IO 4.8 (twice: as it comes, and with
// WebSocket first), SockJS 1.6 and centrifuge-js 5.7 were measured, with 40
// messages as here. best is the best of these: seconds to the first message, or
// what else the row is about.
var comparison = []struct {
	name    string
	options middlebox.Options
	best    string
	reach   []string
	silent  bool
}{
	{name: "clean", best: "0.10 s", reach: []string{"websocket"}},
	{name: "handshake swallowed", best: "1.0 s", options: middlebox.Options{Upgrade: middlebox.UpgradeSwallow}},
	{name: "101 passes, then no frame does", best: "0.6 s", options: middlebox.Options{Frames: middlebox.FramesDrop}},
	{name: "upgrade 403, response bodies held until they end", best: "0.2 s", options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Hold: middlebox.HoldResponse}, reach: []string{"poll"}},
	{name: "101 then nothing, and bodies held", best: "0.25 s", options: middlebox.Options{Frames: middlebox.FramesDrop, Hold: middlebox.HoldResponse}, reach: []string{"poll"}},
	{name: "WebSocket falls silent after 3 s", best: "35 s, 10 lost", reach: []string{"websocket"}, silent: true},
	{name: "upgrade 403, every request doubled", best: "works", options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Repeat: middlebox.RepeatAll}},
	{name: "upgrade 403, every POST doubled", best: "works", options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Repeat: middlebox.RepeatPOST}},
	{name: "upgrade 403, 30 % of POST answers lost", best: "0 lost", options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Loss: 0.3, Seed: 9}},
}

// TestComparisonRows measures the nine rows in which other clients were
// measured.
func TestComparisonRows(t *testing.T) {
	all := runtimes(t)
	for i, c := range comparison {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, rt := range all {
				t.Run(rt.name(), func(t *testing.T) {
					t.Parallel()
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
					defer cancel()
					s := startServer(t)
					p := box(t, s.host, c.options)
					e := &trial{ctx: ctx, path: p, direct: &path{url: s.url}, runtime: rt, reach: c.reach, every: 50 * time.Millisecond}
					if c.silent {
						e.silence = func() { _ = p.boxes[0].Set(middlebox.Options{Frames: middlebox.FramesDrop}) }
						e.wait = 100 * time.Millisecond
					}
					f := e.exchange(t)
					if f.Noticed > idleBar+allowance {
						t.Errorf("the silence was noticed after %v", f.Noticed)
					}
					f.Table, f.Order, f.Row, f.Best = "Where other clients were measured", i, c.name, c.best
					found(t, f)
				})
			}
		})
	}
}

// A silent path is noticed within 20 s, and within 3 s under traffic.
const (
	idleBar    = 20 * time.Second
	trafficBar = 3 * time.Second
)

// TestSilence lets a path that worked fall silent, in each way that there is.
func TestSilence(t *testing.T) {
	all := runtimes(t)
	for i, c := range []struct {
		name    string
		reach   []string
		options middlebox.Options
		silence func(*middlebox.Box)
	}{
		{"every connection is forgotten", []string{"websocket"}, middlebox.Options{}, (*middlebox.Box).Freeze},
		{"frames are dropped", []string{"websocket"}, middlebox.Options{}, func(b *middlebox.Box) { _ = b.Set(middlebox.Options{Frames: middlebox.FramesDrop}) }},
		{"streams are forgotten", []string{"sse"}, middlebox.Options{Upgrade: middlebox.UpgradeRefuse}, (*middlebox.Box).Freeze},
		{"polls are forgotten", []string{"poll"}, middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Hold: middlebox.HoldResponse}, (*middlebox.Box).Freeze},
	} {
		for _, traffic := range []bool{false, true} {
			name := c.name + map[bool]string{false: ", idle", true: ", under traffic"}[traffic]
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for _, rt := range all {
					t.Run(rt.name(), func(t *testing.T) {
						t.Parallel()
						ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
						defer cancel()
						s := startServer(t)
						p := box(t, s.host, c.options)
						e := &trial{ctx: ctx, path: p, direct: &path{url: s.url}, runtime: rt, reach: c.reach, every: 50 * time.Millisecond, traffic: traffic,
							silence: func() { c.silence(p.boxes[0]) }, wait: 100 * time.Millisecond}
						f := e.exchange(t)
						limit := idleBar
						if traffic {
							limit = trafficBar
						}
						if f.Noticed > limit+allowance {
							t.Errorf("noticed after %v", f.Noticed)
						}
						f.Table, f.Order, f.Row = "Paths that fall silent", i, name
						found(t, f)
					})
				}
			})
		}
	}
}
