package hub

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Hub delivers what a store has to whoever reads it on this node.
type Hub struct {
	// set once
	o         Options
	store     Store
	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	queue     *workQueue
	wheel     *wheel
	presence  *presence
	scratches sync.Pool
	helpers   sync.Pool // of *helper

	wg sync.WaitGroup // every goroutine of the hub

	coarse atomic.Int64 // seconds since the start, moved on by the tick
	held   atomic.Int64 // bytes in logs and remainders
	stats  counters

	mu sync.Mutex // after a Subscriber's mu, never before one, nor with a room's
	// guarded by mu
	rooms       map[string]*room
	subscribers map[string]int // by transport
	count       int            // sum of subscribers
	live        places
	retries     []*Subscriber
	draining    chan struct{} // closed when draining
	drained     bool
	closed      bool
	idle        chan struct{} // closed when count is 0 while somebody waits for it
}

// New starts a hub on a store, which the caller closes after the hub.
func New(store Store, o Options) (*Hub, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	h := &Hub{
		o: o.withDefaults(), store: store, queue: newWorkQueue(), wheel: &wheel{},
		rooms: make(map[string]*room), subscribers: make(map[string]int),
		draining: make(chan struct{}),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.helpers.New = func() any { return &helper{worker: worker{hub: h}} }
	h.scratches.New = func() any { return new(scratch) }
	h.presence = newPresence(h)
	for range h.o.Workers {
		w := &worker{hub: h}
		h.wg.Go(w.run)
	}
	h.wg.Go(h.tick)
	h.wg.Go(h.presence.run)
	return h, nil
}

// NodeID is the name of this node.
func (h *Hub) NodeID() string { return h.o.NodeID }

// FingerprintOf is the fingerprint of a message's content: its compact JSON,
// and whether it is ephemeral. Whatever way a client takes to publish, the same
// content has the same fingerprint.
func FingerprintOf(data []byte, ephemeral bool) (f Fingerprint) {
	sum := sha256.Sum256(data)
	copy(f[:], sum[:])
	if ephemeral {
		f[0] ^= 0xff
	}
	return f
}

// Publish publishes a batch, one result each, as Store.Publish does. It checks
// the rooms' names, makes the messages' ids, and gives keys their default life.
// It changes the batch in place.
func (h *Hub) Publish(ctx context.Context, batch []Publish) []Result {
	var bad map[int]error
	ids := ""
	for i := range batch {
		p := &batch[i]
		if ids == "" {
			ids = newMessageIDs(min(len(batch)-i, idsTogether))
		}
		p.ID, ids = ids[:messageIDLen], ids[messageIDLen:]
		if p.Key != "" && p.KeyTTL <= 0 {
			p.KeyTTL = h.o.KeyTTL
		}
		if err := ValidateRoom(p.Room); err != nil {
			if bad == nil {
				bad = make(map[int]error)
			}
			bad[i] = err
		}
	}
	var results []Result
	if bad == nil {
		results = h.store.Publish(ctx, batch)
	} else {
		results = h.publishSome(ctx, batch, bad)
	}
	for i := range results {
		switch {
		case results[i].Err != nil:
			h.stats.refused.Add(1)
		case results[i].Duplicate:
			h.stats.duplicates.Add(1)
		default:
			h.stats.published.Add(1)
		}
	}
	return results
}

func (h *Hub) publishSome(ctx context.Context, batch []Publish, bad map[int]error) []Result {
	good := make([]Publish, 0, len(batch))
	for i := range batch {
		if bad[i] == nil {
			good = append(good, batch[i])
		}
	}
	var applied []Result
	if len(good) > 0 {
		applied = h.store.Publish(ctx, good)
	}
	results := make([]Result, len(batch))
	for i := range batch {
		if err := bad[i]; err != nil {
			results[i].Err = err
			continue
		}
		results[i], applied = applied[0], applied[1:]
	}
	return results
}

// Read reads a page of a room's history from the store.
func (h *Hub) Read(ctx context.Context, r ReadRequest) (Page, error) {
	if err := ValidateRoom(r.Room); err != nil {
		return Page{}, err
	}
	return h.store.Read(ctx, r)
}

// Present lists who is in a room, on all nodes.
func (h *Hub) Present(ctx context.Context, room string, limit int) (Presence, error) {
	if err := ValidateRoom(room); err != nil {
		return Presence{}, err
	}
	return h.store.Present(ctx, room, limit)
}

// Ready is nil while the node takes new readers and the store answers.
func (h *Hub) Ready(ctx context.Context) error {
	h.mu.Lock()
	drained, closed := h.drained, h.closed
	h.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case drained:
		return ErrDraining
	}
	return h.store.Ping(ctx)
}

// admit counts a subscriber in.
func (h *Hub) admit(s *Subscriber) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.admitLocked(s)
}

func (h *Hub) admitLocked(s *Subscriber) error {
	switch {
	case h.closed:
		return ErrClosed
	case h.drained:
		return ErrDraining
	case h.count >= h.o.MaxSubscribers:
		return fmt.Errorf("%w: %d are allowed", ErrTooManySubscribers, h.o.MaxSubscribers)
	}
	h.count++
	h.subscribers[s.transport]++
	s.place = h.live.add(s)
	return nil
}

// dismiss counts a subscriber out.
func (h *Hub) dismiss(s *Subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count--
	h.subscribers[s.transport]--
	h.live.remove(s.place)
	if h.count == 0 && h.idle != nil {
		close(h.idle)
		h.idle = nil
	}
}

// Drain prepares the node's end: nobody new is taken, waiting polls are
// answered, and every connection is ended with EndDraining and a hint to come
// back after a random time within spread. It waits until they are gone or ctx
// ends.
func (h *Hub) Drain(ctx context.Context, spread time.Duration) error {
	h.mu.Lock()
	if !h.drained {
		h.drained = true
		close(h.draining)
	}
	subs := h.live.all()
	var idle chan struct{}
	if h.count > 0 {
		if h.idle == nil {
			h.idle = make(chan struct{})
		}
		idle = h.idle
	}
	h.mu.Unlock()
	for _, s := range subs {
		if s.conn == nil {
			s.timeUp(PollResult{Draining: true, After: spreadOut(pollSpread)})
			continue // one that is not parked hears of draining itself
		}
		s.End(End{Code: EndDraining, Message: "the server is going down; another one, or its successor, goes on", After: spreadOut(spread)})
	}
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func spreadOut(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

// Close ends every connection at once and waits for the hub's goroutines.
func (h *Hub) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	if !h.drained {
		h.drained = true
		close(h.draining)
	}
	subs := h.live.all()
	h.mu.Unlock()
	for _, s := range subs {
		s.End(End{})
	}
	h.cancel()
	h.queue.close()
	h.wg.Wait()

	h.mu.Lock()
	rooms := h.rooms
	h.rooms = nil
	h.mu.Unlock()
	for _, r := range rooms {
		r.close()
	}
	return nil
}
