//go:build unix

package redis_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/redis"
)

// patience is how long something asynchronous may take before a test calls it
// lost. It decides nothing in a passing run.
const patience = 20 * time.Second

func message(room, data string) hub.Publish {
	return hub.Publish{Room: room, ID: hub.NewMessageID(), From: "u", Data: fmt.Appendf(nil, "%q", data)}
}

func keyed(room, key, data string) hub.Publish {
	p := message(room, data)
	p.Subject, p.Key, p.KeyTTL = "u", key, time.Hour
	sum := sha256.Sum256([]byte(data))
	p.Fingerprint = hub.Fingerprint(sum[:16])
	return p
}

func publish(ctx context.Context, s *redis.Store, p hub.Publish) hub.Result {
	return s.Publish(ctx, []hub.Publish{p})[0]
}

// mustPublish publishes one and tries again while the store is away.
func mustPublish(t testing.TB, s *redis.Store, p hub.Publish) hub.Result {
	t.Helper()
	var r hub.Result
	eventually(t, "publish", func() bool {
		r = publish(t.Context(), s, p)
		return r.Err == nil
	}, func() any { return r.Err })
	return r
}

// eventually waits until cond holds; state is told where it never does.
func eventually(t testing.TB, what string, cond func() bool, state func() any) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			var s any
			if state != nil {
				s = state()
			}
			t.Fatalf("%s: not in %v: %v", what, patience, s)
		}
		time.Sleep(5 * time.Millisecond) // between two questions, not instead of an answer
	}
}

func history(t testing.TB, s *redis.Store, room string) hub.Page {
	t.Helper()
	var page hub.Page
	var err error
	eventually(t, "read", func() bool {
		page, err = s.Read(t.Context(), hub.ReadRequest{Room: room, Mode: hub.ReadOldest, Limit: 10_000})
		return err == nil
	}, func() any { return err })
	return page
}

// recorder is a hub.Watcher that keeps what it heard.
type recorder struct {
	mu      sync.Mutex
	msgs    []*hub.Message
	events  []hub.PresenceEvent
	resyncs []string
}

func (r *recorder) Messages(_ string, msgs []*hub.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.msgs = append(r.msgs, msgs...)
}

func (r *recorder) Presence(_ string, events []hub.PresenceEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, events...)
}

func (r *recorder) Resync(room string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resyncs = append(r.resyncs, room)
}

func (r *recorder) heard(id string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.msgs {
		if m.ID == id {
			n++
		}
	}
	return n
}

func (r *recorder) resynced() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.resyncs)
}

// hears waits until the watcher hears what is published, which proves that the
// subscription is there.
func (r *recorder) hears(t testing.TB, s *redis.Store, room string) {
	t.Helper()
	eventually(t, "hear", func() bool {
		p := message(room, "do you hear")
		p.Ephemeral = true
		if publish(t.Context(), s, p).Err != nil {
			return false
		}
		for range 20 {
			if r.heard(p.ID) > 0 {
				return true
			}
			time.Sleep(time.Millisecond)
		}
		return false
	}, nil)
}
