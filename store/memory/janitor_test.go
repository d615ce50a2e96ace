package memory

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertd/culvert/hub"
)

// ears counts what a watcher hears; in a bubble nothing else runs meanwhile.
type ears struct {
	msgs   int
	events []hub.PresenceEvent
}

func (e *ears) Messages(_ string, msgs []*hub.Message)        { e.msgs += len(msgs) }
func (e *ears) Presence(_ string, events []hub.PresenceEvent) { e.events = append(e.events, events...) }
func (e *ears) Resync(string)                                 {}

func openTest(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *Store, room, key string, ttl time.Duration) hub.Position {
	t.Helper()
	p := hub.Publish{Room: room, ID: hub.NewMessageID(), Data: []byte(`"x"`), Key: key, KeyTTL: ttl}
	r := s.Publish(context.Background(), []hub.Publish{p})[0]
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r.Position
}

// Nobody calls the store after the first minute: the janitor alone brings it
// back to nothing, each thing in its time.
func TestJanitorFreesWhatNobodyTouches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, Options{HistoryAge: time.Hour, RoomTTL: 5 * time.Hour})
		defer s.Close()
		for i := range 5000 {
			put(t, s, fmt.Sprint("room", i%500), fmt.Sprint("k", i), 10*time.Minute)
		}
		put(t, s, "long", "k", 20*time.Hour)
		leases := []hub.Lease{}
		for i := range 1000 {
			leases = append(leases, hub.Lease{Room: "busy", Client: fmt.Sprint(i), Holder: "n", TTL: time.Minute})
		}
		if err := s.Renew(context.Background(), leases); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		at := func(d time.Duration, want Stats) {
			t.Helper()
			time.Sleep(d - time.Since(start))
			synctest.Wait()
			got := s.Stats()
			if want.Bytes == -1 {
				want.Bytes = got.Bytes
			}
			if got != want {
				t.Errorf("after %v: %+v, want %+v", d, got, want)
			}
		}
		at(50*time.Second, Stats{Rooms: 502, Bytes: -1, Keys: 5001, Leases: 1000})
		at(65*time.Second, Stats{Rooms: 501, Bytes: -1, Keys: 5001})
		at(10*time.Minute+5*time.Second, Stats{Rooms: 501, Bytes: -1, Keys: 1})
		if s.Stats().Bytes == 0 {
			t.Error("the histories left early")
		}
		at(time.Hour+5*time.Second, Stats{Rooms: 501, Keys: 1})
		at(5*time.Hour-5*time.Second, Stats{Rooms: 501, Keys: 1})
		at(5*time.Hour+5*time.Second, Stats{Rooms: 1, Keys: 1}) // kept by its key
		at(20*time.Hour+5*time.Second, Stats{})
		for i := range s.shards {
			sh := &s.shards[i]
			if len(sh.rooms) > 0 || sh.keys.entries != nil || sh.timers.len() > 0 || sh.lruFirst != nil {
				t.Errorf("shard %d holds %d rooms, %d keys, %d timers", i, len(sh.rooms), len(sh.keys.entries), sh.timers.len())
			}
		}
	})
}

func TestJanitorTellsOfLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, Options{})
		defer s.Close()
		var w ears
		stop, err := s.Watch(context.Background(), "room", &w)
		if err != nil {
			t.Fatal(err)
		}
		s.Renew(context.Background(), []hub.Lease{{Room: "room", Client: "c", Holder: "n", TTL: 30 * time.Second}})
		time.Sleep(33 * time.Second)
		synctest.Wait()
		if len(w.events) != 2 || w.events[1].Join || w.events[1].Count != 0 {
			t.Errorf("events %+v", w.events)
		}
		stop()
		if n := s.Stats().Rooms; n != 0 {
			t.Errorf("%d rooms after the only watcher of an empty room left", n)
		}
	})
}

func TestAWatchedRoomIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, Options{HistoryAge: time.Hour, RoomTTL: 2 * time.Hour})
		defer s.Close()
		stop, err := s.Watch(context.Background(), "room", &ears{})
		if err != nil {
			t.Fatal(err)
		}
		first := put(t, s, "room", "", 0)
		time.Sleep(100 * time.Hour)
		if next := put(t, s, "room", "", 0); next.Epoch != first.Epoch || next.Offset != 2 {
			t.Errorf("%v after %v", next, first)
		}
		time.Sleep(100 * time.Hour)
		stop()
		time.Sleep(time.Hour)
		if n := s.Stats().Rooms; n != 1 {
			t.Errorf("forgotten within RoomTTL of its last reader")
		}
		time.Sleep(2 * time.Hour)
		if st := s.Stats(); st != (Stats{}) {
			t.Errorf("%+v is left", st)
		}
	})
}

// One hold of a lock frees a bounded number of things, whatever there is.
func TestLockHoldsAreBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := build(Options{Clock: func() time.Time { return now }, HistoryMessages: 10_000, MaxKeys: 1 << 20}.withDefaults())
	room := "room"
	sh := s.shardOf(room)
	for i := range 5000 {
		put(t, s, room, fmt.Sprint("k", i), time.Minute)
	}
	for i := range 5000 {
		s.Renew(context.Background(), []hub.Lease{{Room: room, Client: fmt.Sprint(i), Holder: "n", TTL: time.Minute}})
	}
	now = now.Add(48 * time.Hour)
	things := func() int {
		n := len(sh.keys.entries)
		if r := sh.rooms[room]; r != nil {
			n += r.history.len()
			if r.presence != nil {
				n += r.presence.leases.len()
			}
		}
		return n
	}
	for holds := 0; ; holds++ {
		before := things()
		sh.mu.Lock()
		more := sh.sweep(maxPerHold)
		sh.mu.Unlock()
		if freed := before - things(); freed > 2*maxPerHold {
			t.Fatalf("one hold freed %d things", freed)
		}
		if !more {
			if things() != 0 || holds < 15_000/maxPerHold/2 {
				t.Errorf("%d things are left after %d holds", things(), holds)
			}
			break
		}
	}
}

// What does not fit in one tick's budget is done in the next ones, from where
// the last one ended.
func TestSweepBudget(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := build(Options{Clock: func() time.Time { return now }}.withDefaults())
	for i := range 20_000 {
		put(t, s, fmt.Sprint("room", i), fmt.Sprint("k", i), time.Minute)
	}
	now = now.Add(time.Hour)
	first, ticks := 0, 0
	for more := true; more; ticks++ {
		before := s.keys.Load()
		first, _, more = s.sweep(first, 2000)
		if freed := before - s.keys.Load(); freed > 4000 {
			t.Fatalf("a budget of 2000 freed %d", freed)
		}
		if ticks > 1000 {
			t.Fatal("it does not end")
		}
	}
	if n := s.keys.Load(); n != 0 || ticks < 4 {
		t.Errorf("%d keys are left after %d ticks", n, ticks)
	}
}

func TestWarningsAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &lines{}
		s := openTest(t, Options{MaxRooms: 1, Logger: log.logger()})
		defer s.Close()
		put(t, s, "room", "", 0)
		refuse := func() {
			for range 100 {
				if r := s.Publish(context.Background(), []hub.Publish{{Room: "other", ID: "x", Data: []byte(`1`)}}); r[0].Err != ErrTooManyRooms {
					t.Fatal(r[0].Err)
				}
			}
		}
		refuse()
		if log.n != 1 {
			t.Errorf("%d lines for one bound", log.n)
		}
		time.Sleep(61 * time.Second)
		refuse()
		if log.n != 2 {
			t.Errorf("%d lines after a minute", log.n)
		}
	})
}
