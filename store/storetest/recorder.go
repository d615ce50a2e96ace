package storetest

import (
	"slices"
	"sync"
	"time"

	"github.com/culvertd/culvert/hub"
)

// recorder is a hub.Watcher that keeps what it heard.
type recorder struct {
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced on every change
	msgs     []*hub.Message
	rooms    []string // of the calls of Messages and Presence
	events   []hub.PresenceEvent
	resynced bool
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

func (r *recorder) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) Messages(room string, msgs []*hub.Message) {
	r.note(func() { r.rooms = append(r.rooms, room); r.msgs = append(r.msgs, msgs...) })
}

func (r *recorder) Presence(room string, events []hub.PresenceEvent) {
	r.note(func() { r.rooms = append(r.rooms, room); r.events = append(r.events, events...) })
}

func (r *recorder) Resync(string) { r.note(func() { r.resynced = true }) }

// wait returns true as soon as cond, called with the recorder's lock held, does.
func (r *recorder) wait(cond func() bool) bool {
	timeout := time.After(patience)
	for {
		r.mu.Lock()
		ok, changed := cond(), r.changed
		r.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-timeout:
			return false
		}
	}
}

func (r *recorder) has(id string) bool {
	return slices.ContainsFunc(r.msgs, func(m *hub.Message) bool { return m.ID == id })
}

// heard is what was heard so far.
func (r *recorder) heard() []*hub.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.msgs)
}

func (r *recorder) told() []hub.PresenceEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// watch starts a recorder.
func (e *env) watch(s hub.Store, room string) (*recorder, func()) {
	e.Helper()
	r := newRecorder()
	stop, err := s.Watch(e.ctx, room, r)
	if err != nil {
		e.Fatalf("watch %q: %v", room, err)
	}
	e.Cleanup(stop)
	return r, stop
}

// wantHeard waits until the message arrives.
func (e *env) wantHeard(r *recorder, id string) {
	e.Helper()
	if !r.wait(func() bool { return r.has(id) || r.resynced }) {
		e.Fatalf("message %s was not delivered within %v", id, patience)
	}
	if r.resynced {
		e.Skip("the store asked for a resync: deliveries cannot be judged in this run")
	}
}

// wantEvents waits for n presence events and returns all.
func (e *env) wantEvents(r *recorder, n int) []hub.PresenceEvent {
	e.Helper()
	if !r.wait(func() bool { return len(r.events) >= n }) {
		e.Fatalf("%d presence events within %v, want %d: %+v", len(r.told()), patience, n, r.told())
	}
	return r.told()
}
