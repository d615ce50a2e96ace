package hub_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
)

// countConn counts what it is given.
type countConn struct{ bytes *atomic.Int64 }

func (c countConn) TryWrite(p []byte) (int, error) {
	c.bytes.Add(int64(len(p)))
	return len(p), nil
}
func (c countConn) Write(p []byte) (int, error)      { return c.TryWrite(p) }
func (c countConn) SetWriteDeadline(time.Time) error { return nil }
func (c countConn) Close() error                     { return nil }

var _ io.Writer = countConn{}

// BenchmarkFanOut delivers messages of 128 bytes to the subscribers of one
// room: one operation is one delivery to one subscriber. "paced" waits for each
// message to be delivered before the next, "burst" keeps eight outstanding.
func BenchmarkFanOut(b *testing.B) {
	for _, subs := range []int{100, 5000} {
		for name, outstanding := range map[string]int{"paced": 1, "burst": 8} {
			b.Run(fmt.Sprintf("%s/%d", name, subs), func(b *testing.B) {
				r := newRig(b, hub.Options{}, memory.Options{})
				var bytes atomic.Int64
				for range subs {
					s, err := r.NewSubscriber(hub.SubscriberOptions{Conn: countConn{&bytes}, Transport: "test"})
					if err != nil {
						b.Fatal(err)
					}
					if _, err := s.Subscribe(context.Background(), now("a")); err != nil {
						b.Fatal(err)
					}
					s.Start()
				}
				data := []byte(`"` + strings.Repeat("x", 126) + `"`)
				batch := make([]hub.Publish, 1)
				perMessage := int64(0)
				b.ReportAllocs()
				b.ResetTimer()
				begin := r.Stats().Delivered
				sent := int64(0)
				for sent*int64(subs) < int64(b.N) || perMessage < 1 {
					for range outstanding {
						batch[0] = hub.Publish{Room: "a", Data: data}
						if err := r.Publish(context.Background(), batch)[0].Err; err != nil {
							b.Fatal(err)
						}
						sent++
					}
					for r.Stats().Delivered-begin < sent*int64(subs) {
						time.Sleep(5 * time.Microsecond)
					}
					perMessage++
				}
				b.StopTimer()
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(sent*int64(subs)), "ns/delivery")
			})
		}
	}
}

// BenchmarkPoll answers a poll that finds ten messages.
func BenchmarkPoll(b *testing.B) {
	r := newRig(b, hub.Options{}, memory.Options{})
	start := hub.Subscription{Room: "a", Start: hub.Start{Kind: hub.StartAfter}}
	if _, err := r.Poll(context.Background(), poll(0, start)); err != nil {
		b.Fatal(err)
	}
	for range 10 {
		one(b, r.Hub, "a", `{"text":"hello"}`)
	}
	b.ReportAllocs()
	for b.Loop() {
		res, err := r.Poll(context.Background(), poll(0, start))
		if err != nil || len(res.Frames) != 10 {
			b.Fatal(len(res.Frames), err)
		}
	}
}

// BenchmarkPublish publishes into a room with one subscriber.
func BenchmarkPublish(b *testing.B) {
	for _, keyed := range []bool{false, true} {
		b.Run(fmt.Sprintf("key=%v", keyed), func(b *testing.B) {
			r := newRig(b, hub.Options{}, memory.Options{MaxKeys: 50_000_000, MaxKeyBytes: 8 << 30})
			var bytes atomic.Int64
			s, err := r.NewSubscriber(hub.SubscriberOptions{Conn: countConn{&bytes}, Transport: "test"})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.Subscribe(context.Background(), now("a")); err != nil {
				b.Fatal(err)
			}
			s.Start()
			data := []byte(`{"text":"hello"}`)
			batch := make([]hub.Publish, 1)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				p := hub.Publish{Room: "a", Data: data}
				if keyed {
					n++
					p.Key, p.KeyTTL, p.Fingerprint = fmt.Sprint(n), time.Minute, hub.FingerprintOf(data, false)
				}
				batch[0] = p
				if err := r.Publish(context.Background(), batch)[0].Err; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestFanOutAllocates holds the hot path to no allocation per delivery: what a
// message itself takes, divided by its deliveries, is next to nothing.
func TestFanOutAllocates(t *testing.T) {
	const subs, messages = 1000, 50
	r := newRig(t, hub.Options{}, memory.Options{})
	var bytes atomic.Int64
	for range subs {
		s, err := r.NewSubscriber(hub.SubscriberOptions{Conn: countConn{&bytes}, Transport: "test"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Subscribe(context.Background(), now("a")); err != nil {
			t.Fatal(err)
		}
		s.Start()
	}
	deliver := func(n int64) {
		want := r.Stats().Delivered + n*subs
		for range n {
			one(t, r.Hub, "a", `"hello"`)
		}
		for begin := time.Now(); r.Stats().Delivered < want; time.Sleep(time.Millisecond) {
			if time.Since(begin) > 30*time.Second {
				t.Fatal("not everything was delivered")
			}
		}
	}
	deliver(10) // buffers grow to their size
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	deliver(messages)
	runtime.ReadMemStats(&after)
	if per := float64(after.Mallocs-before.Mallocs) / (subs * messages); per > 0.1 {
		t.Errorf("%.2f allocations per delivery", per)
	}
}
