package ws

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/transport/wire"
)

// counter is a hub connection that counts what it is given.
type counter struct{ bytes *atomic.Int64 }

func (c counter) TryWrite(p []byte) (int, error) {
	c.bytes.Add(int64(len(p)))
	return len(p), nil
}
func (c counter) Write(p []byte) (int, error)    { return c.TryWrite(p) }
func (counter) SetWriteDeadline(time.Time) error { return nil }
func (counter) Close() error                     { return nil }

// fan is a room whose readers are so many of each form.
type fan struct {
	t     testing.TB
	hub   *hub.Hub
	bytes map[int]*atomic.Int64 // by form
	subs  int64
}

func newFan(t testing.TB, each int, forms ...int) *fan {
	t.Helper()
	store, err := memory.New(memory.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := hub.New(store, hub.Options{Framings: wire.Framings(wire.Options{DeflateFrom: 256})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Close()
		store.Close()
	})
	f := &fan{t: t, hub: h, bytes: make(map[int]*atomic.Int64)}
	for _, form := range forms {
		f.bytes[form] = new(atomic.Int64)
		for range each {
			s, err := h.NewSubscriber(hub.SubscriberOptions{Conn: counter{f.bytes[form]}, Form: form, Transport: "ws"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Subscribe(context.Background(), []hub.Subscription{{Room: "a"}}); err != nil {
				t.Fatal(err)
			}
			s.Start()
			f.subs++
		}
	}
	return f
}

// deliver publishes n messages, one after the other, to all readers.
func (f *fan) deliver(n int, data string) {
	f.t.Helper()
	for range n {
		want := f.hub.Stats().Delivered + f.subs
		if err := f.hub.Publish(context.Background(), []hub.Publish{{Room: "a", Data: []byte(data)}})[0].Err; err != nil {
			f.t.Fatal(err)
		}
		for begin := time.Now(); f.hub.Stats().Delivered < want; time.Sleep(5 * time.Microsecond) {
			if time.Since(begin) > 30*time.Second {
				f.t.Fatal("not everything was delivered")
			}
		}
	}
}

// text is a message as applications send them.
func text(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `{"id":%d,"user":"user-%d","status":"delivered","price":%d},`, i*7919, i%7, i*i*31%9973)
	}
	return "[" + strings.TrimSuffix(b.String(), ",") + "]"
}

// TestDeflatedOnce: what readers share is compressed for all of them at once,
// allocates nothing per delivery, and counts in what the hub holds; and only
// where somebody agreed on it is there anything to hold.
func TestDeflatedOnce(t *testing.T) {
	const each, messages = 500, 50
	data := text(2000)
	plain := newFan(t, each, wire.FormWS)
	plain.deliver(messages, data)
	both := newFan(t, each, wire.FormWS, wire.FormWSDeflate)
	both.deliver(10, data)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	both.deliver(messages-10, data)
	runtime.ReadMemStats(&after)
	if per := float64(after.Mallocs-before.Mallocs) / float64(both.subs*(messages-10)); per > 0.1 {
		t.Errorf("%.2f allocations per delivery", per)
	}
	full, packed := both.bytes[wire.FormWS].Load(), both.bytes[wire.FormWSDeflate].Load()
	if packed*2 > full || full != plain.bytes[wire.FormWS].Load() {
		t.Errorf("%d bytes compressed of %d", packed, full)
	}
	// Every message is in the log, with its wire forms.
	more := both.hub.Stats().HeldBytes - plain.hub.Stats().HeldBytes
	if want := packed / each; more != want {
		t.Errorf("the compressed frames count %d bytes, they have %d", more, want)
	}
}

// TestDeflatedOnlyWhenShared: what a reader catches up with from the store, by
// itself, is not compressed for it alone.
func TestDeflatedOnlyWhenShared(t *testing.T) {
	data := text(2000)
	for _, fromLog := range []bool{true, false} {
		f := newFan(t, 1, wire.FormWSDeflate)
		room := "a" // whose log has a reader
		if !fromLog {
			room = "b" // which nobody has read yet
		}
		for range 5 {
			f.hub.Publish(context.Background(), []hub.Publish{{Room: room, Data: []byte(data)}})
		}
		out := &sink{}
		s, err := f.hub.NewSubscriber(hub.SubscriberOptions{Conn: out, Form: wire.FormWSDeflate, Transport: "ws"})
		if err != nil {
			t.Fatal(err)
		}
		begin := hub.Start{Kind: hub.StartAfter}
		if _, err := s.Subscribe(context.Background(), []hub.Subscription{{Room: room, Start: begin}}); err != nil {
			t.Fatal(err)
		}
		s.Start()
		want := int64(5)
		if fromLog {
			want = 10 // the other reader's
		}
		for began := time.Now(); f.hub.Stats().Delivered < want; time.Sleep(time.Millisecond) {
			if time.Since(began) > 30*time.Second {
				t.Fatal("not everything was delivered")
			}
		}
		if got := out.take(); fromLog != (len(got) < 5*len(data)/2) {
			t.Errorf("from the log %v: %d bytes for %d of data", fromLog, len(got), 5*len(data))
		}
		s.End(hub.End{})
	}
}

// BenchmarkFanOutDeflate is what one delivery takes, plain and compressed, in a
// room of 1,000 readers: bytes, time and allocations.
func BenchmarkFanOutDeflate(b *testing.B) {
	for _, size := range []int{500, 2000, 16000} {
		for name, form := range map[string]int{"plain": wire.FormWS, "deflate": wire.FormWSDeflate} {
			b.Run(fmt.Sprintf("%d/%s", size, name), func(b *testing.B) {
				const subs = 1000
				f := newFan(b, subs, form)
				data := text(size)
				b.ReportAllocs()
				rounds := max(1, b.N/subs)
				b.ResetTimer()
				f.deliver(rounds, data)
				b.StopTimer()
				b.ReportMetric(float64(f.bytes[form].Load())/float64(rounds*subs), "bytes/delivery")
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rounds*subs), "ns/delivery")
			})
		}
	}
}
