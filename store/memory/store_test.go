package memory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/culvertd/culvert/hub"
)

// lines counts log lines.
type lines struct{ n int }

func (l *lines) Write(p []byte) (int, error) { l.n++; return len(p), nil }

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func TestOptionsValidate(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string // in the error; "" for none
	}{
		{Options{}, ""},
		{Options{HistoryBytes: 100, TotalBytes: 100}, ""},
		{Options{HistoryBytes: 512 << 20}, "TotalBytes"},
		{Options{TotalBytes: 1000}, "TotalBytes"},
		{Options{HistoryMessages: -1, HistoryAge: -1}, "HistoryAge"},
		{Options{HistoryMessages: -1, HistoryAge: -1}, "HistoryMessages"},
		{Options{HistoryBytes: -1}, "HistoryBytes"},
		{Options{RoomTTL: -1}, "RoomTTL"},
		{Options{MaxRooms: -1}, "MaxRooms"},
		{Options{MaxKeys: -1}, "MaxKeys"},
		{Options{MaxKeyBytes: 1}, "MaxKeyBytes"},
		{Options{MaxLeases: -1}, "MaxLeases"},
	} {
		err := c.o.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
		s, err2 := New(c.o)
		if (err2 == nil) != (err == nil) {
			t.Errorf("New: %v", err2)
		}
		if s != nil {
			s.Close()
		}
	}
}

// The clock may run backwards: times in a room do not, and nothing ends early.
func TestClockRunsBackwards(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := build(Options{Clock: func() time.Time { return now }, HistoryAge: time.Hour, RoomTTL: 2 * time.Hour}.withDefaults())
	first := put(t, s, "room", "k", time.Minute)
	now = now.Add(-30 * time.Minute)
	put(t, s, "room", "", 0)
	now = now.Add(-48 * time.Hour)
	put(t, s, "room", "", 0)
	put(t, s, "new", "", 0)
	page, err := s.Read(context.Background(), hub.ReadRequest{Room: "room", Limit: 10})
	if err != nil || len(page.Messages) != 3 || page.Gap != nil {
		t.Fatalf("%+v, %v", page, err)
	}
	last := int64(0)
	for _, m := range page.Messages {
		if m.Time < last {
			t.Errorf("time %d after %d", m.Time, last)
		}
		last = m.Time
	}
	r := s.Publish(context.Background(), []hub.Publish{{Room: "room", ID: "x", Data: []byte(`"x"`), Key: "k", KeyTTL: time.Minute}})[0]
	if !r.Duplicate || r.Position != first {
		t.Errorf("%+v", r)
	}
}

// Epochs of a room sort by birth even where two lives begin in one millisecond,
// or the clock went back between them.
func TestEpochsSortWhateverTheClock(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := build(Options{Clock: func() time.Time { return now }, HistoryAge: 1, RoomTTL: 1}.withDefaults())
	last := ""
	for i := range 200 {
		p := put(t, s, "room", "", 0)
		if p.Offset != 1 || p.Epoch <= last {
			t.Fatalf("life %d begins at %v, the one before had the epoch %s", i, p, last)
		}
		last = p.Epoch
		now = now.Add(2)
		for j := range s.shards {
			s.shards[j].mu.Lock()
			s.shards[j].sweep(100)
			s.shards[j].latest -= 1_000_000 // as if another shard's clock were behind
			s.shards[j].mu.Unlock()
		}
	}
}

// The first of the bytes to leave are those of the room whose last publish is
// longest ago, whatever shard it is in; and never more than needed, give or
// take the low-water mark.
// A room keeps its name alive and not what that was cut out of, which is in no
// bound.
func TestRoomNameIsACopy(t *testing.T) {
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	address := "room" + strings.Repeat("?", 100)
	for _, name := range []string{address[:3], address[:4]} {
		if r := s.Publish(t.Context(), []hub.Publish{{Room: name, ID: "i", Data: []byte("1")}})[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		for known, r := range s.shardOf(name).rooms {
			if known == name && (unsafe.StringData(known) == unsafe.StringData(address) || unsafe.StringData(r.name) == unsafe.StringData(address)) {
				t.Errorf("%q is a part of %d bytes", known, len(address))
			}
		}
	}
}

func TestTotalBytesTakesTheOldestFirst(t *testing.T) {
	const rooms, total = 100, 100 * 1000
	s := openTest(t, Options{HistoryBytes: 10_000, TotalBytes: total})
	defer s.Close()
	r := rand.New(rand.NewPCG(5, 6))
	lastPublish := map[string]int{}
	for step := range 5000 {
		room := fmt.Sprint("room", r.IntN(rooms))
		p := hub.Publish{Room: room, ID: hub.NewMessageID(), Data: []byte(`"` + strings.Repeat("x", r.IntN(1000)) + `"`)}
		if res := s.Publish(context.Background(), []hub.Publish{p})[0]; res.Err != nil {
			t.Fatal(res.Err)
		}
		lastPublish[room] = step
		if n := s.Stats().Bytes; n > total || step > 1000 && n < total-total/64-10_000 {
			t.Fatalf("step %d: %d bytes", step, n)
		}
		if step%100 != 99 {
			continue
		}
		// Every room that lost all was published to before every one that did not.
		newestEmpty, oldestHeld, sum := -1, 1<<30, int64(0)
		for room, at := range lastPublish {
			page, err := s.Read(context.Background(), hub.ReadRequest{Room: room, Mode: hub.ReadOldest, Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range page.Messages {
				sum += int64(m.Size())
			}
			if len(page.Messages) == 0 {
				newestEmpty = max(newestEmpty, at)
			} else {
				oldestHeld = min(oldestHeld, at)
			}
		}
		if newestEmpty > oldestHeld {
			t.Fatalf("a room published to at step %d lost all, one of step %d did not", newestEmpty, oldestHeld)
		}
		if sum != s.Stats().Bytes {
			t.Fatalf("the histories are %d bytes, counted are %d", sum, s.Stats().Bytes)
		}
	}
}

// Everything at once, with bounds that are always reached: for the race
// detector, and for counters that must end where they began.
func TestEverythingAtOnce(t *testing.T) {
	s := openTest(t, Options{
		HistoryMessages: 20, HistoryBytes: 10_000, HistoryAge: 2 * time.Millisecond, RoomTTL: 4 * time.Millisecond,
		TotalBytes: 40_000, MaxRooms: 30, MaxKeys: 200, MaxLeases: 50,
	})
	ctx := context.Background()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(g)))
			stops := map[string]func(){}
			for range 3000 {
				room := fmt.Sprint("room", r.IntN(40))
				leases := []hub.Lease{{Room: room, Client: fmt.Sprint(r.IntN(5)), Holder: fmt.Sprint(r.IntN(3)), TTL: time.Duration(r.IntN(3)) * time.Millisecond}}
				switch r.IntN(10) {
				case 0:
					s.Renew(ctx, leases)
				case 1:
					s.Release(ctx, leases)
				case 2:
					s.Present(ctx, room, 3)
				case 3:
					s.Heads(ctx, []string{room, "room1"})
				case 4:
					page, err := s.Read(ctx, hub.ReadRequest{Room: room, Mode: hub.ReadMode(r.IntN(4)), Limit: 5})
					if err != nil {
						t.Error(err)
					}
					for i := 1; i < len(page.Messages); i++ {
						if page.Messages[i].Offset != page.Messages[i-1].Offset+1 {
							t.Error("a hole in a page")
						}
					}
				case 5:
					if stop := stops[room]; stop != nil {
						stop()
						delete(stops, room)
					} else if stop, err := s.Watch(ctx, room, &quiet{}); err == nil {
						stops[room] = stop
					} else if !errors.Is(err, ErrTooManyRooms) {
						t.Error(err)
					}
				case 6:
					if c, err := s.Clone(); err != nil {
						t.Error(err)
					} else if r.IntN(10) > 0 || c.Close() != nil {
						c.Close()
					}
				default:
					var batch []hub.Publish
					for range 1 + r.IntN(4) {
						batch = append(batch, hub.Publish{
							Room: room, ID: hub.NewMessageID(), Data: []byte(`"` + strings.Repeat("x", r.IntN(300)) + `"`), Ephemeral: r.IntN(4) == 0,
							Key: []string{"", fmt.Sprint(r.IntN(1000))}[r.IntN(2)], KeyTTL: time.Duration(r.IntN(4000)) * time.Microsecond,
						})
					}
					s.Publish(ctx, batch)
				}
			}
			for _, stop := range stops {
				stop()
			}
		})
	}
	wg.Wait()
	counted := s.Stats()
	var held Stats
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		held.Rooms += len(sh.rooms)
		held.Keys += len(sh.keys.entries)
		for _, r := range sh.rooms {
			held.Bytes += int64(r.bytes)
			if r.presence != nil {
				held.Leases += r.presence.leases.len()
			}
			if len(r.watchers) > 0 {
				t.Errorf("room %s has %d watchers", r.name, len(r.watchers))
			}
		}
		sh.mu.Unlock()
	}
	if counted.Rooms < held.Rooms || counted.Keys < held.Keys { // the janitor may free meanwhile
		t.Errorf("counted %+v, held %+v", counted, held)
	}
	s.Close()
	if st := s.Stats(); st != (Stats{}) {
		t.Errorf("%+v after Close", st)
	}
}

type quiet struct{}

func (*quiet) Messages(string, []*hub.Message)      {}
func (*quiet) Presence(string, []hub.PresenceEvent) {}
func (*quiet) Resync(string)                        {}
