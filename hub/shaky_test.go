package hub_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/culvertd/culvert/hub"
)

// shakyStore fails, delays, forgets and repeats, seeded.
type shakyStore struct {
	hub.Store
	mu    sync.Mutex
	rng   *rand.Rand // guarded by mu
	quiet bool       // guarded by mu
}

func newShakyStore(s hub.Store, seed uint64) *shakyStore {
	return &shakyStore{Store: s, rng: rand.New(rand.NewPCG(seed, 99))}
}

func (s *shakyStore) calm() {
	s.mu.Lock()
	s.quiet = true
	s.mu.Unlock()
}

// roll is a number below n, or n-1 for "all is well".
func (s *shakyStore) roll(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quiet {
		return n - 1
	}
	return s.rng.IntN(n)
}

func (s *shakyStore) dawdle(ctx context.Context) error {
	select {
	case <-time.After(time.Duration(s.roll(50)) * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *shakyStore) Publish(ctx context.Context, batch []hub.Publish) []hub.Result {
	fail := func(err error) []hub.Result {
		res := make([]hub.Result, len(batch))
		for i := range res {
			res[i].Err = err
		}
		return res
	}
	switch s.roll(20) {
	case 0:
		return fail(hub.ErrUnavailable)
	case 1:
		return fail(hub.ErrOutcomeUnknown)
	case 2:
		s.Store.Publish(ctx, batch)
		return fail(hub.ErrOutcomeUnknown)
	case 3:
		if s.dawdle(ctx) != nil {
			return fail(hub.ErrUnavailable)
		}
	}
	return s.Store.Publish(ctx, batch)
}

func (s *shakyStore) Read(ctx context.Context, r hub.ReadRequest) (hub.Page, error) {
	switch s.roll(12) {
	case 0:
		return hub.Page{}, hub.ErrUnavailable
	case 1:
		if err := s.dawdle(ctx); err != nil {
			return hub.Page{}, err
		}
	case 2: // read, and only then dawdle: an old answer
		page, err := s.Store.Read(ctx, r)
		if derr := s.dawdle(ctx); derr != nil {
			return hub.Page{}, derr
		}
		return page, err
	}
	return s.Store.Read(ctx, r)
}

func (s *shakyStore) Heads(ctx context.Context, rooms []string) ([]hub.Position, error) {
	if s.roll(10) == 0 {
		return nil, hub.ErrUnavailable
	}
	return s.Store.Heads(ctx, rooms)
}

func (s *shakyStore) Watch(ctx context.Context, room string, w hub.Watcher) (func(), error) {
	if s.roll(10) == 0 {
		return nil, hub.ErrUnavailable
	}
	return s.Store.Watch(ctx, room, &shakyWatcher{Watcher: w, store: s})
}

type shakyWatcher struct {
	hub.Watcher
	store *shakyStore
}

func (w *shakyWatcher) Messages(room string, msgs []*hub.Message) {
	switch w.store.roll(12) {
	case 0: // lost
	case 1: // twice
		w.Watcher.Messages(room, append([]*hub.Message(nil), msgs...))
		w.Watcher.Messages(room, msgs)
	case 2: // late
		time.AfterFunc(time.Duration(w.store.roll(300))*time.Millisecond, func() { w.Watcher.Messages(room, msgs) })
	case 3:
		w.Watcher.Messages(room, msgs)
		w.Watcher.Resync("")
	default:
		w.Watcher.Messages(room, msgs)
	}
}
