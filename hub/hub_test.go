package hub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
)

// rig is a hub on a memory store, closed with the test.
type rig struct {
	testing.TB
	*hub.Hub
	store *memory.Store
}

func newRig(t testing.TB, ho hub.Options, mo memory.Options) *rig {
	t.Helper()
	store, err := memory.New(mo)
	if err != nil {
		t.Fatal(err)
	}
	if ho.Framings == nil {
		ho.Framings = testForms
	}
	h, err := hub.New(store, ho)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Close()
		store.Close()
	})
	return &rig{TB: t, Hub: h, store: store}
}

// subscribe starts a subscriber on c.
func (r *rig) subscribe(c *bufConn, o hub.SubscriberOptions, subs ...hub.Subscription) *hub.Subscriber {
	r.Helper()
	o.Conn = c
	if o.Transport == "" {
		o.Transport = "test"
	}
	s, err := r.NewSubscriber(o)
	if err != nil {
		r.Fatal(err)
	}
	if _, err := s.Subscribe(context.Background(), subs); err != nil {
		r.Fatal(err)
	}
	s.Start()
	return s
}

func now(rooms ...string) []hub.Subscription {
	subs := make([]hub.Subscription, len(rooms))
	for i, room := range rooms {
		subs[i].Room = room
	}
	return subs
}

func after(room string, p hub.Position) hub.Subscription {
	return hub.Subscription{Room: room, Start: hub.Start{Kind: hub.StartAfter, At: hub.RoomPosition{Room: room, Position: p}}}
}

func want(t testing.TB, c *bufConn, lines ...string) {
	t.Helper()
	got := c.text()
	w := strings.Join(lines, "\n")
	if w != "" {
		w += "\n"
	}
	if got != w {
		t.Errorf("the connection got\n%s\nwant\n%s", got, w)
	}
	c.check(t)
}

// msgs is what offsets from to to of a room look like, each with its number as data.
func msgs(room string, from, to int) (l []string) {
	for i := from; i <= to; i++ {
		l = append(l, fmt.Sprintf("%s msg %d %d", room, i, i))
	}
	return l
}

// conns are the two ways to write: at once, and through the writer on demand.
var conns = map[string]func() *bufConn{
	"direct":    func() *bufConn { return newBufConn(true, 0) },
	"on demand": func() *bufConn { return newBufConn(false, 0) },
	"in parts":  func() *bufConn { return newBufConn(true, 7) },
}

func TestDeliversInOrder(t *testing.T) {
	for name, conn := range conns {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, hub.Options{}, memory.Options{})
				c := conn()
				s := r.subscribe(c, hub.SubscriberOptions{}, now("a")...)
				drain := func() {
					for synctest.Wait(); c.read(0) != ""; synctest.Wait() {
					}
				}
				for i := 1; i <= 300; i++ {
					one(t, r.Hub, "a", fmt.Sprint(i))
					if i%50 == 0 {
						drain()
					}
				}
				drain()
				want(t, c, msgs("a", 1, 300)...)
				if p, _ := s.Cursor().Find("a"); p.Offset != 300 {
					t.Errorf("the cursor says %v", p)
				}
			})
		})
	}
}

func TestStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{}, memory.Options{})
		var third hub.Position
		for i := 1; i <= 5; i++ {
			if res := one(t, r.Hub, "a", fmt.Sprint(i)); i == 3 {
				third = res.Position
			}
		}
		for _, c := range []struct {
			name  string
			start hub.Start
			first int
		}{
			{"now", hub.Start{}, 6},
			{"last 2", hub.Start{Kind: hub.StartLast, N: 2}, 4},
			{"last 0", hub.Start{Kind: hub.StartLast}, 6},
			{"last of more than there are", hub.Start{Kind: hub.StartLast, N: 50}, 1},
			{"oldest", hub.Start{Kind: hub.StartOldest}, 1},
			{"after", hub.Start{Kind: hub.StartAfter, At: hub.RoomPosition{Position: third}}, 4},
			{"after nothing", hub.Start{Kind: hub.StartAfter}, 1},
		} {
			conn := newBufConn(true, 0)
			s := r.subscribe(conn, hub.SubscriberOptions{}, hub.Subscription{Room: "a", Start: c.start})
			synctest.Wait()
			t.Log(c.name)
			want(t, conn, msgs("a", c.first, 5)...)
			s.End(hub.End{})
		}
	})
}

// A reader that stops reading costs a bounded piece of memory, delays nobody,
// and gets everything when it reads again.
func TestFrozenReader(t *testing.T) {
	for _, tries := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, hub.Options{LogMessages: 50}, memory.Options{})
			frozen, well := newBufConn(tries, 0), newBufConn(tries, 0)
			r.subscribe(frozen, hub.SubscriberOptions{}, now("a")...)
			r.subscribe(well, hub.SubscriberOptions{}, now("a")...)
			frozen.freeze(true)
			for i := 1; i <= 500; i++ {
				one(t, r.Hub, "a", fmt.Sprint(i))
				synctest.Wait()
				if got := lines(well.read(0)); len(got) != 1 {
					t.Fatalf("after message %d the other reader got %q", i, got)
				}
			}
			if held := r.Stats().HeldBytes; held > 64<<10 {
				t.Errorf("%d bytes are held for a log of 50 messages and a frozen reader", held)
			}
			frozen.freeze(false)
			synctest.Wait()
			want(t, frozen, msgs("a", 1, 500)...)
			if st := r.Stats(); st.CaughtUp == 0 {
				t.Error("the frozen reader did not catch up from the store")
			}
		})
	}
}

// A round of more messages than one write carries comes whole, although the
// connection does not take the first write: nobody waits for the next publish.
func TestRoundOverOneWrite(t *testing.T) {
	for _, tries := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, hub.Options{WriteBytes: 1}, memory.Options{})
			c := newBufConn(tries, 10)
			r.subscribe(c, hub.SubscriberOptions{}, now("a")...)
			batch := make([]hub.Publish, 3)
			for i := range batch {
				batch[i] = hub.Publish{Room: "a", Data: []byte(fmt.Sprint(i + 1))}
			}
			r.Publish(t.Context(), batch)
			var got strings.Builder
			for range 20 {
				synctest.Wait()
				got.WriteString(c.read(10))
			}
			if l := lines(got.String()); len(l) != 3 {
				t.Errorf("got %q", l)
			}
		})
	}
}

// A reader that is still catching up from the store is connected: what has no
// offset comes to it, in its place, and only what came after it joined.
func TestEphemeralWhileCatchingUp(t *testing.T) {
	for _, tries := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, hub.Options{}, memory.Options{})
			ephemeral := func(data string) {
				r.Publish(t.Context(), []hub.Publish{{Room: "a", Data: []byte(data), Ephemeral: true}})
			}
			r.subscribe(newBufConn(true, 0), hub.SubscriberOptions{}, now("b")...)
			one(t, r.Hub, "a", "1")
			early, late := newBufConn(tries, 0), newBufConn(tries, 0)
			early.freeze(true)
			r.subscribe(early, hub.SubscriberOptions{}, hub.Subscription{Room: "a", Start: hub.Start{Kind: hub.StartOldest}})
			synctest.Wait()
			ephemeral(`"e1"`)
			one(t, r.Hub, "a", "2")
			ephemeral(`"e2"`)
			r.subscribe(late, hub.SubscriberOptions{}, hub.Subscription{Room: "a", Start: hub.Start{Kind: hub.StartOldest}})
			early.freeze(false)
			synctest.Wait()
			want(t, early, "a msg 1 1", `a msg 0 "e1"`, "a msg 2 2", `a msg 0 "e2"`)
			want(t, late, "a msg 1 1", "a msg 2 2")
		})
	}
}

func TestSlowReaderEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{WriteTimeout: 10 * time.Second}, memory.Options{})
		c := newBufConn(true, 0)
		s := r.subscribe(c, hub.SubscriberOptions{}, now("a")...)
		c.freeze(true)
		one(t, r.Hub, "a", "1")
		time.Sleep(9 * time.Second)
		synctest.Wait()
		select {
		case <-s.Done():
			t.Fatal("ended before its time")
		default:
		}
		time.Sleep(2 * time.Second)
		<-s.Done()
		if s.Ended().Code != hub.EndSlow {
			t.Errorf("it ended with %+v", s.Ended())
		}
		if n := r.Stats().Subscribers["test"]; n != 0 {
			t.Errorf("%d subscribers are left", n)
		}
	})
}

func TestGapAfterEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{LogMessages: 5}, memory.Options{HistoryMessages: 10})
		c := newBufConn(true, 0)
		r.subscribe(c, hub.SubscriberOptions{}, now("a")...)
		one(t, r.Hub, "a", "1")
		synctest.Wait()
		c.freeze(true)
		for i := 2; i <= 100; i++ {
			one(t, r.Hub, "a", fmt.Sprint(i))
		}
		synctest.Wait()
		c.freeze(false)
		synctest.Wait()
		got := lines(c.text())
		gaps, last := 0, 0
		for _, l := range got {
			f := strings.Fields(l)
			switch f[1] {
			case "gap":
				gaps++
				to := strings.Split(f[3], ".")
				fmt.Sscan(to[1], &last)
			case "msg":
				var n int
				fmt.Sscan(f[2], &n)
				if n != last+1 {
					t.Errorf("after %d came %q", last, l)
				}
				last = n
			}
		}
		if gaps == 0 || last != 100 {
			t.Errorf("%d gaps, last message %d: %q", gaps, last, got)
		}
	})
}

func TestEndOnGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{}, memory.Options{HistoryMessages: 2})
		for i := range 10 {
			one(t, r.Hub, "a", fmt.Sprint(i))
		}
		c := newBufConn(true, 0)
		s := r.subscribe(c, hub.SubscriberOptions{EndOnGap: true}, after("a", hub.Position{}))
		<-s.Done()
		if s.Ended().Code != hub.EndGap {
			t.Errorf("it ended with %+v", s.Ended())
		}
		if got := c.text(); !strings.HasPrefix(got, "end gap") {
			t.Errorf("it got %q", got)
		}
	})
}

func TestSeveralRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{MaxRoomsPerSubscriber: 3}, memory.Options{})
		c := newBufConn(true, 0)
		s := r.subscribe(c, hub.SubscriberOptions{}, now("a", "b")...)
		one(t, r.Hub, "a", "1")
		one(t, r.Hub, "b", "1")
		one(t, r.Hub, "c", "1")
		synctest.Wait()
		got := lines(c.read(0))
		slices.Sort(got)
		if !slices.Equal(got, []string{"a msg 1 1", "b msg 1 1"}) {
			t.Fatalf("got %q", got)
		}
		reply := func(word string) func(hub.Cursor) []byte {
			return func(at hub.Cursor) []byte { return []byte(word + " " + at[0].Room + "\n") }
		}
		sub := hub.Subscription{Room: "c", Start: hub.Start{Kind: hub.StartOldest}}
		if err := s.SubscribeThen(context.Background(), []hub.Subscription{sub}, reply("joined")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := c.read(0); got != "joined c\nc msg 1 1\n" {
			t.Fatalf("after subscribing came %q", got)
		}
		_, err := s.Subscribe(context.Background(), now("d"))
		if !errors.Is(err, hub.ErrTooManyRooms) {
			t.Errorf("a fourth room: %v", err)
		}
		if n := r.Stats().Rooms; n != 3 {
			t.Errorf("the hub keeps %d rooms, want no more for one that was refused", n)
		}
		if err := s.UnsubscribeThen([]string{"a"}, reply("left")); err != nil {
			t.Fatal(err)
		}
		one(t, r.Hub, "a", "2")
		one(t, r.Hub, "b", "2")
		synctest.Wait()
		if got := c.read(0); got != "left a\nb msg 2 2\n" {
			t.Errorf("after unsubscribing came %q", got)
		}
		if _, err := s.Unsubscribe([]string{"a"}); !errors.Is(err, hub.ErrNotSubscribed) {
			t.Errorf("leaving twice: %v", err)
		}
		if got := s.Rooms(); !slices.Equal(got, []string{"b", "c"}) {
			t.Errorf("rooms %q", got)
		}
	})
}

// With several rooms, a form that names the cursor names all of them.
func TestCursorInFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{}, memory.Options{})
		c := newBufConn(true, 0)
		r.subscribe(c, hub.SubscriberOptions{Form: 1}, now("a", "b")...)
		one(t, r.Hub, "a", "1")
		synctest.Wait()
		one(t, r.Hub, "b", "1")
		synctest.Wait()
		got := lines(c.text())
		for i, l := range got {
			text, _, _ := strings.Cut(l, "|")
			cur, err := hub.ParseCursor(text, []string{"a", "b"})
			if err != nil || len(cur) != 2 || cur[0].Offset != 1 || cur[1].Offset != uint64(i) {
				t.Errorf("line %d is %q", i, l)
			}
		}
		if len(got) != 2 {
			t.Errorf("got %q", got)
		}
	})
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{Heartbeat: 10 * time.Second}, memory.Options{})
		quiet, own := newBufConn(true, 0), newBufConn(false, 0)
		r.subscribe(quiet, hub.SubscriberOptions{}, now("a")...)
		r.subscribe(own, hub.SubscriberOptions{Heartbeat: 3 * time.Second}, now("a")...)
		one(t, r.Hub, "a", "1")
		time.Sleep(31 * time.Second)
		synctest.Wait()
		count := func(c *bufConn) int { return strings.Count(c.text(), "heartbeat a=") }
		if n := count(quiet); n < 2 || n > 3 {
			t.Errorf("%d heartbeats in 31 s at 10 s", n)
		}
		if n := count(own); n < 8 || n > 10 {
			t.Errorf("%d heartbeats in 31 s at 3 s", n)
		}
	})
}

func TestTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{}, memory.Options{})
		turns := 0
		o := hub.SubscriberOptions{Heartbeat: 5 * time.Second, Turn: func(time.Time) { turns++ }}
		r.subscribe(newBufConn(true, 0), o, now("a")...)
		for range 60 { // a connection that is never silent has its turns too
			one(t, r.Hub, "a", "1")
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if turns < 8 || turns > 16 {
			t.Errorf("%d turns in 60 s at 5 s", turns)
		}
	})
}

func TestSendIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{}, memory.Options{})
		c := newBufConn(true, 0)
		c.freeze(true)
		s := r.subscribe(c, hub.SubscriberOptions{}, now("a")...)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var err error
		sent := 0
		for ; err == nil && sent < 100; sent++ {
			err = s.Send(ctx, make([]byte, 16<<10))
		}
		if s.TrySend([]byte("x")) {
			t.Error("a frame was taken over the limit")
		}
		if !errors.Is(err, context.DeadlineExceeded) || sent > 40 {
			t.Errorf("%d frames of 16 KiB were taken, then %v", sent, err)
		}
	})
}

func TestIdleRoomsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{Linger: time.Minute}, memory.Options{})
		s := r.subscribe(newBufConn(true, 0), hub.SubscriberOptions{}, now("a")...)
		one(t, r.Hub, "a", "1")
		s.End(hub.End{})
		<-s.Done()
		time.Sleep(50 * time.Second)
		if n := r.Stats().Rooms; n != 1 {
			t.Errorf("after 50 s there are %d rooms", n)
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if st := r.Stats(); st.Rooms != 0 || st.HeldBytes != 0 {
			t.Errorf("after 65 s: %+v", st)
		}
	})
}

func TestTotalBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const total = 256 << 10
		r := newRig(t, hub.Options{TotalBytes: total}, memory.Options{})
		data := `"` + strings.Repeat("x", 2000) + `"`
		for i := range 40 {
			c := newBufConn(true, 0)
			room := fmt.Sprint("r", i)
			r.subscribe(c, hub.SubscriberOptions{}, now(room)...)
			for range 50 {
				one(t, r.Hub, room, data)
			}
			synctest.Wait()
			if got := len(lines(c.text())); got != 50 {
				t.Fatalf("room %s: %d messages", room, got)
			}
		}
		if held := r.Stats().HeldBytes; held > 2*total {
			t.Errorf("%d bytes are held, %d are allowed", held, total)
		}
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{}, memory.Options{})
		c, stuck := newBufConn(true, 0), newBufConn(true, 0)
		r.subscribe(c, hub.SubscriberOptions{}, now("a")...)
		r.subscribe(stuck, hub.SubscriberOptions{}, now("a")...)
		stuck.freeze(true)
		one(t, r.Hub, "a", "1")
		polled := make(chan hub.PollResult)
		go func() {
			res, err := r.Poll(context.Background(), poll(20*time.Second, now("b")...))
			if err != nil {
				t.Error(err)
			}
			polled <- res
		}()
		synctest.Wait()
		begin := time.Now()
		if err := r.Drain(t.Context(), 5*time.Second); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d > 3*time.Second {
			t.Errorf("draining took %v", d)
		}
		if res := <-polled; !res.Draining || len(res.Cursor) != 1 {
			t.Errorf("the poll was answered with %+v", res)
		}
		if got := lines(c.text()); len(got) != 2 || !strings.HasPrefix(got[1], "end draining a=") {
			t.Errorf("it got %q", got)
		}
		if err := r.Ready(t.Context()); !errors.Is(err, hub.ErrDraining) {
			t.Errorf("ready: %v", err)
		}
		if _, err := r.NewSubscriber(hub.SubscriberOptions{Conn: c}); !errors.Is(err, hub.ErrDraining) {
			t.Errorf("a new subscriber: %v", err)
		}
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{MaxSubscribers: 1}, memory.Options{})
		r.subscribe(newBufConn(true, 0), hub.SubscriberOptions{}, now("a")...)
		if _, err := r.NewSubscriber(hub.SubscriberOptions{Conn: newBufConn(true, 0)}); !errors.Is(err, hub.ErrTooManySubscribers) {
			t.Errorf("a second subscriber: %v", err)
		}
		res := r.Publish(t.Context(), []hub.Publish{{Room: "ok", Data: []byte("1")}, {Room: "no/room", Data: []byte("1")}, {Room: "ok", Data: []byte("2")}})
		if res[0].Err != nil || !errors.Is(res[1].Err, hub.ErrBadRoom) || res[2].Position.Offset != 2 {
			t.Errorf("results %+v", res)
		}
		if err := (hub.Options{Linger: -1}).Validate(); err == nil {
			t.Error("a negative Linger is taken")
		}
	})
}

func poll(wait time.Duration, subs ...hub.Subscription) hub.PollRequest {
	return hub.PollRequest{Subscriptions: subs, Wait: wait, Limit: 100, Bytes: 1 << 20}
}

// Members that leave while a round is walking over them, all of them even,
// leave the room whole for those that come after.
func TestLeavingDuringARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{}, memory.Options{})
		rng := rand.New(rand.NewPCG(1, 1))
		var subs []*hub.Subscriber
		for round := range 300 {
			for range 1 + rng.IntN(5) {
				subs = append(subs, r.subscribe(newBufConn(true, 0), hub.SubscriberOptions{}, now("a")...))
			}
			go r.Publish(context.Background(), []hub.Publish{{Room: "a", Data: []byte("1")}})
			for len(subs) > 0 && rng.IntN(4) > 0 {
				i := rng.IntN(len(subs))
				go subs[i].End(hub.End{})
				subs[i] = subs[len(subs)-1]
				subs = subs[:len(subs)-1]
			}
			synctest.Wait()
			c := newBufConn(true, 0)
			s := r.subscribe(c, hub.SubscriberOptions{}, now("a")...)
			one(t, r.Hub, "a", "2")
			synctest.Wait()
			if got := lines(c.text()); len(got) != 1 {
				t.Fatalf("in round %d a newcomer got %q", round, got)
			}
			s.End(hub.End{})
		}
	})
}
