package memory

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"crypto/rand"

	"github.com/culvertd/culvert/hub"
)

// shardCount is a power of two. It bounds how many publishers work at the same
// time, far above the number of cores a node has.
const shardCount = 64

// never is a time that does not come.
const never = math.MaxInt64

// Store is a hub.Store in the memory of the process.
type Store struct {
	// Set once.
	o          Options
	start      time.Time
	maxKeys    int64
	seed       maphash.Seed // of a room's shard
	sip0, sip1 uint64       // of idempotency keys
	quit       chan struct{}
	wake       chan struct{} // of the janitor, holds one
	done       chan struct{}
	closeOnce  sync.Once

	closed atomic.Bool

	// Counters over all shards. The bytes of all histories are added - removed;
	// added alone numbers the publishes in their order.
	added, removed      atomic.Int64
	rooms, keys, leases atomic.Int64
	wakeAt              atomic.Int64 // when the janitor has to look again, instant.at
	lastForgotten       atomic.Int64 // the latest birth of a forgotten epoch, Unix ms
	nextWarn            [warnings]atomic.Int64
	evictMu             sync.Mutex // held by the one that enforces TotalBytes
	shards              [shardCount]shard
}

var (
	_ hub.Store  = (*Store)(nil)
	_ hub.Prompt = (*Store)(nil)
)

// New makes a Store and starts its janitor; Close ends it.
func New(o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := build(o.withDefaults())
	go s.janitor()
	return s, nil
}

// build makes a Store whose janitor does not run yet.
func build(o Options) *Store {
	var secret [16]byte
	rand.Read(secret[:])
	s := &Store{
		o:       o,
		start:   o.Clock(),
		maxKeys: o.maxKeys(),
		seed:    maphash.MakeSeed(),
		sip0:    binary.LittleEndian.Uint64(secret[:8]),
		sip1:    binary.LittleEndian.Uint64(secret[8:]),
		quit:    make(chan struct{}),
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}),
	}
	s.wakeAt.Store(never)
	for i := range s.shards {
		s.shards[i].init(s)
	}
	return s
}

// instant is one reading of the clock.
type instant struct {
	// at is nanoseconds since the store began, by the monotonic clock where
	// Options.Clock gives one: what expires is measured in it.
	at int64
	// wall is Unix milliseconds: what clients are shown.
	wall int64
}

func (s *Store) now() instant {
	t := s.o.Clock()
	return instant{at: int64(t.Sub(s.start)), wall: t.UnixMilli()}
}

// after is the time d from at, without overflow.
func after(at int64, d time.Duration) int64 {
	if t := at + int64(d); d <= 0 || t > at {
		return t
	}
	return never
}

func (s *Store) shardOf(room string) *shard {
	return &s.shards[maphash.String(s.seed, room)&(shardCount-1)]
}

// usable is nil while the store is open and the context has not ended. The
// error of a context wraps hub.ErrUnavailable too, as nothing was done.
func (s *Store) usable(ctx context.Context) error {
	if s.closed.Load() {
		return hub.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", hub.ErrUnavailable, err)
	}
	return nil
}

// Ping implements hub.Store: it fails only when the store was closed.
func (s *Store) Ping(ctx context.Context) error { return s.usable(ctx) }

// Close implements hub.Store. It waits for the janitor, and for calls under way
// in a shard; no watcher is called after it.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.closed.Store(true)
		close(s.quit)
		<-s.done
		for i := range s.shards {
			s.shards[i].close()
		}
		s.rooms.Store(0)
		s.keys.Store(0)
		s.leases.Store(0)
		s.removed.Store(s.added.Load())
	})
	return nil
}

// Stats is what a Store holds at the moment.
type Stats struct {
	Rooms  int   // known rooms: with a position, a watcher or a lease
	Bytes  int64 // of all histories, by hub.Message.Size
	Keys   int   // idempotency keys, expired ones that were not freed yet among them
	Leases int   // presence leases, likewise
}

// Stats reads the counters; it locks nothing.
func (s *Store) Stats() Stats {
	return Stats{
		Rooms:  int(s.rooms.Load()),
		Bytes:  s.bytes(),
		Keys:   int(s.keys.Load()),
		Leases: int(s.leases.Load()),
	}
}

// bytes may miss a publish under way by a moment, in either direction.
func (s *Store) bytes() int64 {
	removed := s.removed.Load()
	return s.added.Load() - removed
}

// The bounds that are warned of.
const (
	warnRooms = iota
	warnKeys
	warnLeases
	warnBytes
	warnings
)

// warn logs that a bound was reached, at most once a minute for each. It is
// never called with a shard's lock held: a Logger may be slow.
func (s *Store) warn(kind int, msg string, limit int64) {
	now := s.now().at
	next := s.nextWarn[kind].Load()
	if now >= next && s.nextWarn[kind].CompareAndSwap(next, after(now, time.Minute)) {
		s.o.Logger.Warn(msg, "limit", limit)
	}
}
