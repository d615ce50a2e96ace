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
	"strings"
	"testing"
	"time"
)

// trial is a client on a path.
type trial struct {
	ctx     context.Context
	path    *path
	direct  *path // to the server, nothing between
	runtime runtime
	reach   []string      // nil: anything
	every   time.Duration // between messages
	rest    time.Duration // amid them
	home    bool          // a page is of the server's own origin
	beside  bool          // a page has the client from the lab, not through the path
	alone   slots         // taken until the first message; nil: the lab's own are enough

	// For what goes wrong later: when the client has come to its transport,
	// breaks is called, then the client publishes traffic messages, then lasts
	// is called (nil: a moment), and the time from then to the next message from
	// elsewhere is taken. back: the client is to come to its transport again.
	breaks  func()
	lasts   func()
	traffic int
	back    bool
	notices time.Duration // the most that this may take, beyond two round trips; 0: no matter

	first func() // gives alone back; may be called twice
}

// exchange sends 40 messages each way, and checks that they arrive.
func (e *trial) exchange(t *testing.T) finding {
	t.Helper()
	room := fmt.Sprintf("%s-%d", e.runtime.name(), nonce.Add(1))
	k := task{URL: e.path.url, Room: room, Messages: messages, Every: int(e.every.Milliseconds()), Rest: int(e.rest.Milliseconds()), Patience: 60_000, Reach: e.reach, Settle: 15_000, Traffic: e.traffic, Back: e.back, Home: e.home}
	if e.breaks != nil {
		k.Late = 1
	}
	if e.beside {
		k.Client = "/culvert.js"
	}
	if e.back {
		k.Settle = 60_000
	}
	if e.alone != nil {
		first, err := e.alone.take(e.ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer first()
		e.first = first
	}
	loaded, err := loading.take(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer loaded()
	client, err := e.runtime.begin(t, e.path, k)
	if err != nil {
		t.Fatal(err)
	}
	defer client.finish()
	if _, err := client.wait(e.ctx, "ready"); err != nil {
		t.Fatal(err)
	}
	loaded()
	release, err := connecting.take(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	roundTrip := e.path.roundTrip(t)
	e.send(t, room, 0)
	client.goOn()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := 1; i < messages; i++ {
			pause(e.ctx, e.every)
			if i == messages/2 {
				pause(e.ctx, e.rest)
			}
			e.send(t, room, i)
		}
	}()
	if _, err := client.wait(e.ctx, "first"); err != nil {
		t.Error(err)
	}
	release()
	if e.first != nil {
		e.first()
	}
	<-sent
	var noticed time.Duration
	if e.breaks != nil {
		noticed = e.notice(t, client, room)
	}
	w, err := client.wait(e.ctx, "report")
	if err != nil || w.Report == nil {
		if client.look != nil {
			t.Logf("what there is of it: %s", client.look())
		}
		t.Fatalf("no report: %v", err)
	}
	if err := client.leftovers(e.ctx); err != nil {
		t.Error(err)
	}
	l := e.check(t, room, w.Report)
	first := elapsed(w.Report.First)
	var late []string
	if most := bar + 2*roundTrip; first > most {
		late = append(late, fmt.Sprintf("the first message after %v, not %v", first, most))
	}
	if most := e.notices + 2*roundTrip; e.notices > 0 && noticed > most {
		late = append(late, fmt.Sprintf("the silence was noticed after %v, not %v", noticed, most))
	}
	elsewhere := e.reach != nil && !slices.Contains(e.reach, w.Report.Transport)
	if elsewhere {
		late = append(late, fmt.Sprintf("the client came to %q, not to %s", w.Report.Transport, strings.Join(e.reach, " or ")))
	}
	if e.back && !slices.Contains(e.reach, w.Report.Back) {
		t.Errorf("at the end the client came to %q, not one of %v", w.Report.Back, e.reach)
	}
	if t.Failed() || testing.Verbose() {
		t.Logf("transport %s, first %v, took %v, states %v", w.Report.Transport, first, elapsed(w.Report.Took), w.Report.States)
	}
	return finding{Runtime: e.runtime.name(), Transport: w.Report.Transport, First: first, RoundTrip: roundTrip, Noticed: noticed, Ledger: l.String(), Late: late, Elsewhere: elsewhere}
}

func (e *trial) send(t *testing.T, room string, i int) {
	if _, err := e.direct.publishOnce(e.ctx, room, fmt.Sprint("down", i), fmt.Sprintf(`{"down":%d}`, i)); err != nil && e.ctx.Err() == nil {
		t.Error(err)
	}
}

// notice lets things go wrong and takes the time to the next message.
func (e *trial) notice(t *testing.T, client *run, room string) time.Duration {
	t.Helper()
	if _, err := client.wait(e.ctx, "ready"); err != nil { // it has published everything
		t.Error(err)
		return 0
	}
	e.breaks()
	began := time.Now()
	client.goOn()
	if e.lasts == nil {
		pause(e.ctx, 100*time.Millisecond)
	} else {
		e.lasts()
		began = time.Now()
	}
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
	if e.breaks != nil {
		down++
	}
	up += e.traffic
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
