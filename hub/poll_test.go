package hub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
)

func joinFrames(res hub.PollResult) string {
	var b strings.Builder
	for _, f := range res.Frames {
		b.Write(f)
	}
	return b.String()
}

func next(res hub.PollResult) []hub.Subscription {
	subs := make([]hub.Subscription, len(res.Cursor))
	for i, at := range res.Cursor {
		subs[i] = hub.Subscription{Room: at.Room, Start: hub.Start{Kind: hub.StartAfter, At: at}}
	}
	return subs
}

func mustPoll(t *testing.T, h *hub.Hub, req hub.PollRequest) hub.PollResult {
	t.Helper()
	res, err := h.Poll(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestPollWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{}, memory.Options{})
		begin := time.Now()
		res := mustPoll(t, r.Hub, poll(20*time.Second, now("a")...))
		if d := time.Since(begin); d != 20*time.Second || len(res.Frames) != 0 || res.Cursor.String()[:3] != "a=0" {
			t.Errorf("an empty poll took %v and says %+v", d, res)
		}
		// What comes between two polls is not lost, and a poll may be repeated.
		one(t, r.Hub, "a", "1")
		one(t, r.Hub, "a", "2")
		for range 2 {
			again := mustPoll(t, r.Hub, poll(20*time.Second, next(res)...))
			if got := joinFrames(again); got != "a msg 1 1\na msg 2 2\n" {
				t.Errorf("the next poll says %q", got)
			}
		}
		go func() {
			time.Sleep(time.Second)
			one(t, r.Hub, "a", "3")
		}()
		res = mustPoll(t, r.Hub, poll(20*time.Second, now("a")...))
		if got := joinFrames(res); got != "a msg 3 3\n" {
			t.Errorf("a waiting poll says %q", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Poll(ctx, poll(20*time.Second, next(res)...)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a poll given up: %v", err)
		}
	})
}

func TestPollLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{LogMessages: 20}, memory.Options{})
		start := hub.Subscription{Room: "a", Start: hub.Start{Kind: hub.StartAfter}}
		res := mustPoll(t, r.Hub, poll(0, start))
		for i := 1; i <= 100; i++ {
			one(t, r.Hub, "a", fmt.Sprint(i))
		}
		var got strings.Builder
		polls := 0
		for ; polls < 50; polls++ {
			req := poll(0, next(res)...)
			req.Limit = 7
			if res = mustPoll(t, r.Hub, req); len(res.Frames) == 0 {
				break
			}
			if len(res.Frames) > 7 {
				t.Fatalf("%d frames", len(res.Frames))
			}
			got.WriteString(joinFrames(res))
		}
		if w := strings.Join(msgs("a", 1, 100), "\n") + "\n"; got.String() != w || polls != 15 {
			t.Errorf("%d polls gave\n%s", polls, got.String())
		}
		req := poll(0, start)
		req.Bytes = 1
		if res := mustPoll(t, r.Hub, req); len(res.Frames) != 1 {
			t.Errorf("a poll of one byte has %d frames", len(res.Frames))
		}
	})
}

// Messages without an offset, and presence events, come once to a client that
// polls, also those between two polls.
func TestPollMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{}, memory.Options{})
		ephemeral := func(data string) {
			if err := r.Publish(t.Context(), []hub.Publish{{Room: "a", Data: []byte(data), Ephemeral: true}})[0].Err; err != nil {
				t.Fatal(err)
			}
		}
		one(t, r.Hub, "a", "1")
		res := mustPoll(t, r.Hub, poll(0, now("a")...))
		ephemeral(`"e1"`)
		var got strings.Builder
		for range 3 {
			res = mustPoll(t, r.Hub, poll(0, next(res)...))
			got.WriteString(joinFrames(res))
		}
		one(t, r.Hub, "a", "2")
		ephemeral(`"e2"`)
		for range 3 {
			res = mustPoll(t, r.Hub, poll(0, next(res)...))
			got.WriteString(joinFrames(res))
		}
		if got.String() != "a msg 0 \"e1\"\na msg 2 2\na msg 0 \"e2\"\n" {
			t.Errorf("the polls gave %q", got.String())
		}
		// Another node's mark is ignored; the position is what counts.
		subs := next(res)
		subs[0].Start.At.Mark = "zzzzzz9"
		if res := mustPoll(t, r.Hub, poll(0, subs...)); len(res.Frames) != 0 {
			t.Errorf("with a foreign mark came %q", joinFrames(res))
		}
	})
}

func TestPollGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{}, memory.Options{})
		for i := 1; i <= 3; i++ {
			one(t, r.Hub, "a", fmt.Sprint(i))
		}
		lost := after("a", hub.Position{Epoch: hub.NewEpoch(1), Offset: 7, ID: "abc"})
		res := mustPoll(t, r.Hub, poll(time.Second, lost))
		if len(res.Gaps) != 1 || res.Gaps[0].Reason != hub.GapLost || joinFrames(res) != "a gap lost 0\na msg 1 1\na msg 2 2\na msg 3 3\n" {
			t.Errorf("a poll from another epoch says %q", joinFrames(res))
		}
		if res = mustPoll(t, r.Hub, poll(0, next(res)...)); len(res.Frames) != 0 {
			t.Errorf("the poll after the gap says %q", joinFrames(res))
		}
		ahead := after("a", hub.Position{Epoch: res.Cursor[0].Epoch, Offset: 99, ID: "abc"})
		if res := mustPoll(t, r.Hub, poll(0, ahead)); len(res.Gaps) != 1 || res.Cursor[0].Offset != 3 {
			t.Errorf("a poll from the future says %q at %v", joinFrames(res), res.Cursor)
		}
	})
}

func TestPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{}, memory.Options{})
		watch := newBufConn(true, 0)
		r.subscribe(watch, hub.SubscriberOptions{Client: "w"}, hub.Subscription{Room: "a", Presence: true})
		time.Sleep(time.Second)
		synctest.Wait()
		watch.read(0)
		present := func() string {
			t.Helper()
			synctest.Wait()
			p, err := r.Present(t.Context(), "a", 10)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, m := range p.Members {
				names = append(names, m.Client)
			}
			return strings.Join(names, " ")
		}
		s := r.subscribe(newBufConn(true, 0), hub.SubscriberOptions{Client: "x"}, now("a")...)
		time.Sleep(time.Second)
		two := r.subscribe(newBufConn(true, 0), hub.SubscriberOptions{Client: "x"}, now("a")...)
		if got := present(); got != "w x" {
			t.Errorf("present: %s", got)
		}
		// One of two connections ends: nobody has left, however long it is.
		s.End(hub.End{})
		time.Sleep(2 * time.Minute)
		if got := present(); got != "w x" {
			t.Errorf("present after one of two has ended: %s", got)
		}
		// The other ends and the client polls soon after: still there.
		two.End(hub.End{})
		time.Sleep(5 * time.Second)
		req := poll(20*time.Second, now("a")...)
		req.Client = "x"
		mustPoll(t, r.Hub, req)
		if got := present(); got != "w x" {
			t.Errorf("present between polls: %s", got)
		}
		time.Sleep(20 * time.Second)
		if got := present(); got != "w x" {
			t.Errorf("present 20 s after a poll: %s", got)
		}
		time.Sleep(30 * time.Second)
		if got := present(); got != "w" {
			t.Errorf("present 50 s after a poll: %s", got)
		}
		synctest.Wait()
		var events []string
		for _, l := range lines(watch.text()) {
			if strings.Contains(l, "presence") {
				events = append(events, l)
			}
		}
		if got := strings.Join(events, ","); got != "a presence true w,a presence true x,a presence false x" {
			t.Errorf("events %q", got)
		}
	})
}

// waiter is the connection of a parked poll.
type waiter chan answered

type answered struct {
	res hub.PollResult
	err error
	at  time.Time
}

func (w waiter) Answer(res hub.PollResult, err error) { w <- answered{res, err, time.Now()} }

func TestParkedPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{}, memory.Options{})
		park := func(req hub.PollRequest) (waiter, *hub.Subscriber) {
			t.Helper()
			w := make(waiter, 2)
			_, s, err := r.PollOrPark(t.Context(), req, func() (hub.Waiter, *hub.Seat, error) { return w, new(hub.Seat), nil })
			if err != nil || s == nil {
				t.Fatalf("not parked: %v", err)
			}
			return w, s
		}
		// Something comes.
		w, _ := park(poll(20*time.Second, now("a", "b")...))
		if n := r.Stats().Subscribers["poll"]; n != 1 {
			t.Errorf("%d polls are counted", n)
		}
		time.Sleep(5 * time.Second)
		one(t, r.Hub, "a", "1")
		a := <-w
		if a.err != nil || joinFrames(a.res) != "a msg 1 1\n" || len(a.res.Cursor) != 2 {
			t.Errorf("answered %+v", a)
		}
		// Nothing comes.
		begin := time.Now()
		w, _ = park(poll(20*time.Second, next(a.res)...))
		b := <-w
		if d := b.at.Sub(begin); b.err != nil || len(b.res.Frames) != 0 || b.res.Cursor.String() != a.res.Cursor.String() || d < 20*time.Second || d > 22*time.Second {
			t.Errorf("after %v it was answered %+v", d, b)
		}
		// There is something already: it is not parked.
		one(t, r.Hub, "b", "1")
		res, s, err := r.PollOrPark(t.Context(), poll(20*time.Second, next(b.res)...), nil)
		if err != nil || s != nil || joinFrames(res) != "b msg 1 1\n" {
			t.Errorf("answered %+v, %v", res, err)
		}
		// The client leaves.
		w, s = park(poll(20*time.Second, next(res)...))
		s.End(hub.End{})
		if c := <-w; !errors.Is(c.err, hub.ErrClosed) {
			t.Errorf("given up: %+v", c)
		}
		// The node drains.
		w, _ = park(poll(20*time.Second, next(res)...))
		if err := r.Drain(t.Context(), time.Second); err != nil {
			t.Error(err)
		}
		if d := <-w; d.err != nil || !d.res.Draining || len(d.res.Cursor) != 2 {
			t.Errorf("draining: %+v", d)
		}
		synctest.Wait()
		if len(w) != 0 || r.Stats().Subscribers["poll"] != 0 {
			t.Error("a poll was answered twice, or is still there")
		}
	})
}
