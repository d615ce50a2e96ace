package redis

import (
	"context"
	"sync"
	"time"

	"github.com/culvertd/culvert/hub"
)

// keyPatience is how long a publish waits for another one of this node with the
// same key before it is told that the key is in use. An answer of Redis takes
// less; what takes longer waits for a Redis that does not answer.
const keyPatience = 500 * time.Millisecond

// flightKey is an idempotency key with the scope it belongs to.
type flightKey struct{ room, subject, key string }

// flights are the idempotency keys whose publishes are under way on this node.
type flights struct {
	mu   sync.Mutex
	keys map[flightKey]flight // guarded by mu
}

type flight struct {
	// elements of the one batch that holds the key.
	elements int
	// done is closed when the key is free; made by the first who waits.
	done chan struct{}
}

// claim takes the keys of a batch, all at once so that two batches cannot wait
// for each other. Keys that are still held by other batches after keyPatience,
// or when ctx ends, are not taken: of their elements busy is true. busy is nil
// where there is none.
func (f *flights) claim(ctx context.Context, batch []hub.Publish) (busy []bool) {
	var patience <-chan time.Time
	for {
		free := f.take(batch)
		if free == nil {
			return nil
		}
		if patience == nil {
			t := time.NewTimer(keyPatience)
			defer t.Stop()
			patience = t.C
		}
		select {
		case <-free:
		case <-patience:
			return f.takeFree(batch)
		case <-ctx.Done():
			return f.takeFree(batch)
		}
	}
}

// take takes every key of the batch and returns nil, or none and returns a
// channel that is closed when the first of the held ones is free.
func (f *flights) take(batch []hub.Publish) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range batch {
		if batch[i].Key == "" {
			continue
		}
		k := keyOf(&batch[i])
		if held, ok := f.keys[k]; ok {
			if held.done == nil {
				held.done = make(chan struct{})
				f.keys[k] = held
			}
			return held.done
		}
	}
	for i := range batch {
		if batch[i].Key != "" {
			f.add(keyOf(&batch[i]))
		}
	}
	return nil
}

func (f *flights) takeFree(batch []hub.Publish) (busy []bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	busy = make([]bool, len(batch))
	for i := range batch {
		if batch[i].Key != "" {
			_, busy[i] = f.keys[keyOf(&batch[i])]
		}
	}
	for i := range batch {
		if batch[i].Key != "" && !busy[i] {
			f.add(keyOf(&batch[i]))
		}
	}
	return busy
}

func (f *flights) add(k flightKey) { // with mu held
	held := f.keys[k]
	held.elements++
	f.keys[k] = held
}

// release gives back the key of one element.
func (f *flights) release(k flightKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	held := f.keys[k]
	if held.elements--; held.elements > 0 {
		f.keys[k] = held
		return
	}
	delete(f.keys, k)
	if held.done != nil {
		close(held.done)
	}
}

func keyOf(p *hub.Publish) flightKey { return flightKey{p.Room, p.Subject, p.Key} }
