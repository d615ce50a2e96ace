package hub_test

import (
	"context"
	"errors"
	"fmt"
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
