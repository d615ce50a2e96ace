package hub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
)

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

// A room keeps its name alive and not what that was cut out of, which is in no
// bound.
func TestRoomNameIsACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{}, memory.Options{})
		address := "room" + strings.Repeat("?", 100)
		s := r.subscribe(newBufConn(true, 0), hub.SubscriberOptions{}, now(address[:4])...)
		if name := s.Cursor()[0].Room; name != "room" || unsafe.StringData(name) == unsafe.StringData(address) {
			t.Errorf("%q is a part of %d bytes", name, len(address))
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
