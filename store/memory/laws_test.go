package memory_test

import (
	"sync"
	"testing"
	"time"

	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/store/storetest"
)

// clock is a time that only moves by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock {
	return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestLaws(t *testing.T) {
	storetest.Run(t, storetest.Backend{
		Open: func(t *testing.T, o storetest.Options) storetest.Instance {
			c := newClock()
			s, err := memory.New(memory.Options{
				HistoryMessages: o.HistoryMessages,
				HistoryBytes:    o.HistoryBytes,
				HistoryAge:      o.HistoryAge,
				RoomTTL:         o.RoomTTL,
				TotalBytes:      int64(o.TotalBytes),
				MaxKeys:         o.MaxKeys,
				MaxRooms:        o.MaxRooms,
				Clock:           c.Now,
			})
			if err != nil {
				t.Fatal(err)
			}
			return storetest.Instance{Store: s, Advance: c.Advance}
		},
	})
}
