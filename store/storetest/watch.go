package storetest

import (
	"context"
	"fmt"
	"sync"

	"github.com/culvertd/culvert/hub"
)

var watchLaws = []law{
	{"EverythingAfterWatchArrives", func(e *env) {
		s := e.open(Options{})
		e.fill("room", 3)
		w, _ := e.watch(s, "room")
		at := e.fill("room", 30)
		e.wantHeard(w, at[29].ID)
		var got []hub.Position
		for _, m := range w.heard() {
			if m.Offset > 3 { // what came before may be heard too
				got = append(got, m.Position())
			}
		}
		e.samePositions("heard", got, at)
	}},
	{"BatchesArriveWhole", func(e *env) {
		s := e.open(Options{})
		watches := map[string]*recorder{}
		for i := range 40 {
			room := fmt.Sprint("room", i)
			watches[room], _ = e.watch(s, room)
		}
		batch := make([]hub.Publish, 800)
		for i := range batch {
			room := i * 7
			if i%3 == 0 { // and runs of one room
				room -= 7
			}
			batch[i] = message(fmt.Sprint("room", room%40), fmt.Sprint(i))
			batch[i].Ephemeral = i%7 == 0
		}
		s.Publish(e.ctx, batch)
		for room, w := range watches {
			var want []string
			for _, p := range batch {
				if p.Room == room {
					want = append(want, p.ID)
				}
			}
			e.wantHeard(w, want[len(want)-1])
			if !w.wait(func() bool { return len(w.msgs) >= len(want) }) {
				e.Fatalf("room %s: %d of %d heard", room, len(w.heard()), len(want))
			}
			for i, m := range w.heard() {
				if m.ID != want[i] || m.Room != room {
					e.Fatalf("room %s: message %d is %+v, want id %s", room, i, m, want[i])
				}
			}
		}
	}},
	{"OtherRoomsAreNotHeard", func(e *env) {
		s := e.open(Options{})
		w, _ := e.watch(s, "room")
		for _, other := range []string{"room2", "roo", "Room", "room:", "room~", "r"} {
			e.must(message(other, "x"))
		}
		marker := e.must(message("room", "end"))
		e.wantHeard(w, marker.Position.ID)
		for _, m := range w.heard() {
			if m.Room != "room" {
				e.Errorf("heard %+v", m)
			}
		}
		for _, room := range w.rooms {
			if room != "room" {
				e.Errorf("called for room %q", room)
			}
		}
	}},
	{"SeveralWatchersOfOneRoom", func(e *env) {
		s := e.open(Options{})
		a, _ := e.watch(s, "room")
		b, stopB := e.watch(s, "room")
		c, _ := e.watch(s, "room")
		first := e.fill("room", 2)
		for _, w := range []*recorder{a, b, c} {
			e.wantHeard(w, first[1].ID)
		}
		stopB()
		stopB() // again is harmless
		second := e.fill("room", 2)
		for _, w := range []*recorder{a, c} {
			e.wantHeard(w, second[1].ID)
			e.samePositions("heard", positions(w.heard()), append(first, second...))
		}
		e.samePositions("heard by the one that stopped", positions(b.heard()), first)
	}},
	{"SlicesAreTheWatchersOwn", func(e *env) {
		s := e.open(Options{})
		first, err := s.Watch(e.ctx, "room", spoiler{})
		if err != nil {
			e.Fatal(err)
		}
		defer first()
		w, _ := e.watch(s, "room")
		second, err := s.Watch(e.ctx, "room", spoiler{})
		if err != nil {
			e.Fatal(err)
		}
		defer second()
		at := e.fill("room", 3)
		e.wantHeard(w, at[2].ID)
		e.samePositions("history", positions(e.all("room").Messages), at)
		e.samePositions("heard", positions(w.heard()), at)
		e.renew(e.lease("a", "n", ample))
		e.wantEvent(e.wantEvents(w, 1)[0], "+a 1")
	}},
	{"TheContextIsForTheCallAlone", func(e *env) {
		// It bounds Watch itself; only stop ends the watch.
		s := e.open(Options{})
		w := newRecorder()
		ctx, cancel := context.WithCancel(e.ctx)
		stop, err := s.Watch(ctx, "room", w)
		if err != nil {
			e.Fatal(err)
		}
		defer stop()
		cancel()
		for range 3 {
			e.wantHeard(w, e.must(message("room", "x")).Position.ID)
		}
	}},
	{"SameWatcherInTwoRooms", func(e *env) {
		s := e.open(Options{})
		w, stopA := e.watch(s, "a")
		stopB, err := s.Watch(e.ctx, "b", w)
		if err != nil {
			e.Fatal(err)
		}
		defer stopB()
		a := e.must(message("a", "1")).Position
		e.wantHeard(w, a.ID)
		stopA()
		e.must(message("a", "2"))
		b := e.must(message("b", "1")).Position
		e.wantHeard(w, b.ID)
		e.samePositions("heard", positions(w.heard()), []hub.Position{a, b})
	}},
	{"WatchAgainAfterStop", func(e *env) {
		s := e.open(Options{})
		for range 3 {
			w, stop := e.watch(s, "room")
			p := e.must(message("room", "x")).Position
			e.wantHeard(w, p.ID)
			stop()
		}
	}},
	{"StopUnderTheWatchersLock", func(e *env) {
		// A hub stops a watch while it holds the lock that the watcher is just
		// waiting for, with the store's lock held: that must not be a deadlock.
		s := e.open(Options{})
		var mu sync.Mutex
		w := &locking{mu: &mu, called: make(chan struct{}, 1000)}
		stop, err := s.Watch(e.ctx, "room", w)
		if err != nil {
			e.Fatal(err)
		}
		mu.Lock()
		var wg sync.WaitGroup
		wg.Go(func() { s.Publish(e.ctx, []hub.Publish{message("room", "x")}) })
		<-w.called
		stop()
		mu.Unlock()
		wg.Wait()
		e.must(message("room", "y"))
	}},
	{"WatchWhilePublishing", func(e *env) {
		// Watchers come and go while messages flow; each hears what was
		// published between its Watch and its stop, in order.
		s := e.open(Options{})
		done := make(chan struct{})
		var pub, watchers sync.WaitGroup
		for range 2 {
			pub.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-done:
						return
					default:
					}
					if i < 5000 {
						s.Publish(e.ctx, []hub.Publish{message("room", "x")})
					} else {
						<-done
					}
				}
			})
		}
		for range 4 {
			watchers.Go(func() {
				for range 10 {
					w := newRecorder()
					stop, err := s.Watch(e.ctx, "room", w)
					if err != nil {
						e.Error(err)
						return
					}
					res := s.Publish(e.ctx, []hub.Publish{message("room", "mine")})[0]
					if !w.wait(func() bool { return w.has(res.Position.ID) || w.resynced }) {
						e.Errorf("%v was not heard", res.Position)
					}
					stop()
				}
			})
		}
		watchers.Wait()
		close(done)
		pub.Wait()
	}},
}

// spoiler overwrites what it is given.
type spoiler struct{}

func (spoiler) Messages(_ string, msgs []*hub.Message) {
	clear(msgs)
	_ = append(msgs, &hub.Message{ID: "spoilt"})
}
func (spoiler) Presence(_ string, events []hub.PresenceEvent) { clear(events) }
func (spoiler) Resync(string)                                 {}

// locking takes a lock in its methods, as a hub does.
type locking struct {
	mu     *sync.Mutex
	called chan struct{}
}

func (w *locking) Messages(string, []*hub.Message) {
	w.called <- struct{}{}
	w.mu.Lock()
	defer w.mu.Unlock()
}
func (w *locking) Presence(string, []hub.PresenceEvent) {}
func (w *locking) Resync(string)                        {}
