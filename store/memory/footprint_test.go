package memory_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
)

func heapBytes() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkFootprint reports what things take when there are many of them. The
// figures beside the options come from here.
func BenchmarkFootprint(b *testing.B) {
	const n = 400_000
	publish := func(s *memory.Store, p hub.Publish) {
		if r := s.Publish(context.Background(), []hub.Publish{p})[0]; r.Err != nil {
			b.Fatal(r.Err)
		}
	}
	for _, c := range []struct {
		name string
		fill func(s *memory.Store)
	}{
		{"key", func(s *memory.Store) {
			for i := range n {
				publish(s, hub.Publish{Room: "room", ID: "0123456789", Ephemeral: true, Data: benchData, Key: fmt.Sprint("some key ", i), KeyTTL: time.Hour})
			}
		}},
		{"room", func(s *memory.Store) {
			for i := range n {
				publish(s, hub.Publish{Room: fmt.Sprint("room-", i), ID: "0123456789", Data: benchData})
			}
		}},
		{"lease", func(s *memory.Store) {
			for i := range n {
				s.Renew(context.Background(), []hub.Lease{{Room: fmt.Sprint("room-", i%1000), Client: fmt.Sprint(i), Holder: "n", TTL: time.Hour}})
			}
		}},
		{"message", func(s *memory.Store) {
			for i := range n {
				publish(s, hub.Publish{Room: fmt.Sprint("room-", i%1000), ID: "0123456789", Data: benchData})
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				before := heapBytes()
				s := openBench(b)
				c.fill(s)
				b.ReportMetric((heapBytes()-before)/n, "B/"+c.name)
				runtime.KeepAlive(s)
				s.Close()
			}
		})
	}
}
