package hub_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
)

// PollAtOnce answers from the logs of open rooms, or parks; where it would have
// to wait it does nothing at all.
func TestPollAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{LogMessages: 3, MaxSubscribers: 2}, memory.Options{})
		var seat hub.Seat // of one poll after the other
		quiet := func(what string) {
			t.Helper()
			synctest.Wait()
			if n := r.Stats().Subscribers["poll"]; n != 0 {
				t.Errorf("%s: %d polls are there", what, n)
			}
		}
		present := func(client string) bool {
			t.Helper()
			synctest.Wait()
			p, err := r.Present(t.Context(), "a", 10)
			if err != nil {
				t.Error(err)
			}
			return slices.ContainsFunc(p.Members, func(m hub.Member) bool { return m.Client == client })
		}
		refused := func(what string, req hub.PollRequest) {
			t.Helper()
			req.Client = "refused"
			if _, s, ok := r.PollAtOnce(&seat, &req, nil); ok || s != nil {
				t.Errorf("%s: it was taken", what)
			}
			quiet(what)
			if present("refused") {
				t.Errorf("%s: it counts as present", what)
			}
		}
		after := func(room string, at hub.Position) hub.Subscription {
			return hub.Subscription{Room: room, Start: hub.Start{Kind: hub.StartAfter, At: hub.RoomPosition{Room: room, Position: at}}}
		}
		refused("no room", poll(time.Second))
		refused("a room that is not open", poll(time.Second, after("a", hub.Position{})))
		res := mustPoll(t, r.Hub, poll(0, now("a", "b")...))
		refused("now", poll(time.Second, now("a")...))
		refused("one room is not open", poll(time.Second, append(next(res), after("c", hub.Position{}))...))
		refused("a place that the log does not know", poll(time.Second, after("b", hub.Position{}), after("a", hub.Position{Epoch: "e", Offset: 7, ID: "i"})))

		// It waits, and something comes.
		w := make(waiter, 2)
		req := poll(20*time.Second, next(res)...)
		req.Client = "taken"
		if _, s, ok := r.PollAtOnce(&seat, &req, w); !ok || s == nil {
			t.Fatal("it does not wait")
		}
		if !present("taken") {
			t.Error("a poll that waits is not present")
		}
		if _, _, ok := r.PollAtOnce(&seat, &req, nil); ok {
			t.Error("a seat was taken twice")
		}
		one(t, r.Hub, "a", "1")
		a := <-w
		if a.err != nil || joinFrames(a.res) != "a msg 1 1\n" || len(a.res.Cursor) != 2 {
			t.Errorf("answered %+v", a)
		}
		quiet("answered")
		// There is something, or nothing to wait for.
		got, s, ok := r.PollAtOnce(&seat, &req, nil)
		if !ok || s != nil || joinFrames(got) != "a msg 1 1\n" || got.Cursor.String() != a.res.Cursor.String() {
			t.Errorf("answered %+v", got)
		}
		req = poll(0, next(got)...)
		if got, s, ok = r.PollAtOnce(&seat, &req, nil); !ok || s != nil || len(got.Frames) != 0 || got.Cursor.String() != a.res.Cursor.String() {
			t.Errorf("answered %+v", got)
		}
		quiet("answered at once")
		// Nothing comes.
		begin := time.Now()
		req = poll(5*time.Second, next(got)...)
		if _, s, ok = r.PollAtOnce(&seat, &req, w); !ok {
			t.Fatal("it does not wait")
		}
		if b := <-w; b.err != nil || len(b.res.Frames) != 0 || b.at.Sub(begin) < 5*time.Second {
			t.Errorf("answered %+v", b)
		}
		if <-s.Done(); s.Ended() != (hub.End{}) {
			t.Errorf("ended with %+v", s.Ended())
		}
		// What the log has let go is the store's to tell.
		for i := range 5 {
			one(t, r.Hub, "a", fmt.Sprint(i+2))
		}
		refused("evicted from the log", poll(time.Second, next(got)...))
		// A full node, and one that drains.
		full := []waiter{make(waiter, 2), make(waiter, 2)}
		for _, w := range full {
			req = poll(20*time.Second, after("b", hub.Position{}))
			if _, _, ok := r.PollAtOnce(new(hub.Seat), &req, w); !ok {
				t.Fatal("it does not wait")
			}
		}
		if _, _, ok := r.PollAtOnce(&seat, &req, nil); ok {
			t.Error("a full node has taken it")
		}
		if err := r.Drain(t.Context(), time.Second); err != nil {
			t.Error(err)
		}
		for _, w := range full {
			if d := <-w; d.err != nil || !d.res.Draining {
				t.Errorf("draining: %+v", d)
			}
		}
		refused("draining", poll(20*time.Second, after("b", hub.Position{})))
	})
}

// Polls that wait at the same place get the same answer, each within its own
// limits, and presence only those that asked for it.
func TestPollsAlike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{}, memory.Options{})
		start := mustPoll(t, r.Hub, poll(0, now("a")...))
		park := func(limit int, presence bool) waiter {
			w := make(waiter, 2)
			req := poll(20*time.Second, next(start)...)
			req.Limit, req.Subscriptions[0].Presence = limit, presence
			if _, s, ok := r.PollAtOnce(new(hub.Seat), &req, w); !ok || s == nil {
				t.Fatal("it does not wait")
			}
			return w
		}
		alike := []waiter{park(100, false), park(2, false), park(100, true), park(100, false)}
		batch := make([]hub.Publish, 3)
		for i := range batch {
			batch[i] = hub.Publish{Room: "a", Data: []byte(fmt.Sprint(i + 1)), Ephemeral: i == 1}
		}
		r.Publish(t.Context(), batch)
		for i, w := range alike {
			a := <-w
			want := len(batch)
			if i == 1 {
				want = 2
			}
			if a.err != nil || len(a.res.Frames) != want {
				t.Errorf("poll %d: %+v", i, a)
			}
			req := poll(0, next(a.res)...)
			rest, _, ok := r.PollAtOnce(new(hub.Seat), &req, nil)
			if !ok || len(rest.Frames) != len(batch)-want {
				t.Errorf("poll %d goes on with %+v", i, rest)
			}
		}
	})
}
