package hub

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// numbered frames an event as the form's number and how often it was encoded.
type numbered struct {
	Framing
	form    int
	encoded *atomic.Int64
}

func (f numbered) Append(dst []byte, _ *Event) []byte {
	return fmt.Appendf(dst, "form %d, encoded %d", f.form, f.encoded.Add(1))
}

// Whoever asks for an entry's frame, at once with others and for whatever form,
// gets the same one, and it is counted once.
func TestFrameIsOne(t *testing.T) {
	for range 200 {
		var encoded, held atomic.Int64
		e := newEntry(new(Event))
		var got [8][maxForms][]byte
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				for _, form := range rand.Perm(maxForms) {
					got[i][form] = e.frame(form, numbered{form: form, encoded: &encoded}, &held)
				}
			})
		}
		wg.Wait()
		var sum int64
		for form := range maxForms {
			first := got[0][form]
			sum += int64(len(first))
			if !bytes.HasPrefix(first, fmt.Appendf(nil, "form %d,", form)) || cap(first)-len(first) > 8 {
				t.Fatalf("form %d: %q, capacity %d", form, first, cap(first))
			}
			for i := range got {
				if &got[i][form][0] != &first[0] {
					t.Fatalf("form %d: %q and %q", form, first, got[i][form])
				}
			}
		}
		if held.Load() != sum {
			t.Fatalf("%d bytes are counted, there are %d", held.Load(), sum)
		}
		e.drop(&held)
		if held.Load() != 0 {
			t.Fatalf("%d bytes are counted after all", held.Load())
		}
		// An entry that has left the log may still be read: it counts no more.
		late := newEntry(new(Event))
		late.drop(&held)
		late.frame(0, numbered{encoded: &encoded}, &held)
		if held.Load() != 0 {
			t.Fatalf("%d bytes are counted of what has left", held.Load())
		}
	}
}

// BenchmarkFrame is what the first delivery of a message adds to its memory.
func BenchmarkFrame(b *testing.B) {
	var encoded, held atomic.Int64
	l := newLog(Position{})
	b.ReportAllocs()
	for b.Loop() {
		l.append(Event{}).frame(0, numbered{encoded: &encoded}, &held)
		l.evict()
	}
}
