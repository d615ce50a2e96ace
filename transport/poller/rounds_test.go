package poller

import (
	"sync/atomic"
	"testing"
	"time"
)

// A round's end comes after whatever was handed over in it, and before anything
// that is handed over later.
func TestRounds(t *testing.T) {
	const pieces = 50
	r := newRecorder(false)
	var ended atomic.Int64 // pieces handed over by the last end
	p := NewRounds(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		ended.Store(int64(r.calls))
		r.cond.Broadcast()
	})
	defer p.Close()
	here, there := tcpPair(t)
	if !p.Native(here) {
		t.Skip("there are no rounds here")
	}
	c, err := p.Add(here, r)
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	defer c.Stop()
	for i := range pieces {
		if _, err := there.Write([]byte{'x'}); err != nil {
			t.Fatal(err)
		}
		r.wait(t, "the end of a round", func() bool { return ended.Load() == int64(i+1) })
		if i%10 == 0 {
			time.Sleep(time.Millisecond) // the poller waits
		}
	}
	if r.calls != pieces {
		t.Errorf("%d pieces, want %d", r.calls, pieces)
	}
}
