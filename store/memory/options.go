package memory

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/culvertd/culvert/hub"
)

// Defaults of Options.
const (
	DefaultHistoryMessages = 1000
	DefaultHistoryBytes    = 1 << 20
	DefaultHistoryAge      = 24 * time.Hour
	DefaultRoomTTL         = 7 * 24 * time.Hour
	DefaultTotalBytes      = 256 << 20
	DefaultMaxRooms        = 1_000_000
	DefaultMaxKeys         = 1_000_000
	DefaultMaxKeyBytes     = 256 << 20
	DefaultMaxLeases       = 1_000_000
)

// KeyBytes is what one idempotency key counts for against MaxKeyBytes: its
// entry of 88 bytes in a hash table about two thirds full, and 24 bytes, with
// spare capacity, in the heap by expiry. The length of the key itself does not
// matter, since only its hash is kept.
const KeyBytes = 176

// defaultKeyTTL is for a publish that names a key but no life for it.
const defaultKeyTTL = time.Hour

// Options bound a Store. The zero value is usable: a zero field means the
// default named with it.
type Options struct {
	// HistoryMessages is the most messages kept of one room (1,000).
	HistoryMessages int
	// HistoryBytes bounds the sum of hub.Message.Size over one room's messages
	// (1 MiB). A message larger than that is refused with hub.ErrTooLarge.
	HistoryBytes int
	// HistoryAge is how long a message is kept (24 h).
	HistoryAge time.Duration
	// RoomTTL is how long a room's position outlives its last message or
	// reader (7 days). Past it, once its messages and keys have expired too,
	// the room is forgotten: its next message begins a new epoch.
	RoomTTL time.Duration
	// TotalBytes bounds the sum of hub.Message.Size over all rooms (256 MiB;
	// at least HistoryBytes). Past it, messages of the rooms whose last publish
	// is longest ago leave first, oldest first, and readers that lack them are
	// told by a gap.
	TotalBytes int64
	// MaxRooms is the most rooms that are known at a time (1,000,000; a room
	// with one message takes about 500 bytes beside the message's data, by
	// BenchmarkFootprint). Past it a publish to a new room, a Watch and a
	// Renew fail with ErrTooManyRooms.
	MaxRooms int
	// MaxKeys is the most idempotency keys kept at a time (1,000,000), and
	// MaxKeyBytes bounds the same by memory, KeyBytes each (256 MiB); the
	// smaller of the two holds. Past it a publish with a new key fails with
	// hub.ErrKeysFull.
	MaxKeys     int
	MaxKeyBytes int64
	// MaxLeases is the most presence leases kept at a time (1,000,000; about
	// 210 bytes each). Past it a Renew of a new lease fails with
	// ErrTooManyLeases.
	MaxLeases int

	// Clock tells the time, time.Now by default. It may run backwards: message
	// times of a room never decrease, and nothing expires early by it. It is
	// called often and must not block.
	Clock func() time.Time
	// Logger hears when a bound is reached, at most once a minute for each.
	// The default discards.
	Logger *slog.Logger
}

// Errors of bounds, for those that want to tell them from other reasons. Both
// are hub.ErrUnavailable too.
var (
	ErrTooManyRooms  = fmt.Errorf("%w: the memory store has no place for another room", hub.ErrUnavailable)
	ErrTooManyLeases = fmt.Errorf("%w: the memory store has no place for another presence lease", hub.ErrUnavailable)
)

// Validate reports every field that cannot be used, as one error.
func (o Options) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(o.HistoryMessages >= 0, "HistoryMessages is %d: it must be at least 1, or 0 for %d", o.HistoryMessages, DefaultHistoryMessages)
	check(o.HistoryBytes >= 0, "HistoryBytes is %d: it must be at least 1, or 0 for %d", o.HistoryBytes, DefaultHistoryBytes)
	check(o.HistoryAge >= 0, "HistoryAge is %v: it must be positive, or 0 for %v", o.HistoryAge, DefaultHistoryAge)
	check(o.RoomTTL >= 0, "RoomTTL is %v: it must be positive, or 0 for %v", o.RoomTTL, DefaultRoomTTL)
	check(o.TotalBytes >= 0, "TotalBytes is %d: it must be at least 1, or 0 for %d", o.TotalBytes, DefaultTotalBytes)
	check(o.MaxRooms >= 0, "MaxRooms is %d: it must be at least 1, or 0 for %d", o.MaxRooms, DefaultMaxRooms)
	check(o.MaxKeys >= 0, "MaxKeys is %d: it must be at least 1, or 0 for %d", o.MaxKeys, DefaultMaxKeys)
	check(o.MaxKeyBytes == 0 || o.MaxKeyBytes >= KeyBytes, "MaxKeyBytes is %d: it must be at least %d, or 0 for %d", o.MaxKeyBytes, KeyBytes, DefaultMaxKeyBytes)
	check(o.MaxLeases >= 0, "MaxLeases is %d: it must be at least 1, or 0 for %d", o.MaxLeases, DefaultMaxLeases)
	if len(errs) == 0 {
		d := o.withDefaults()
		check(d.TotalBytes >= int64(d.HistoryBytes), "TotalBytes is %d: it must be at least HistoryBytes, %d", d.TotalBytes, d.HistoryBytes)
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("memory store: %w", errors.Join(errs...))
}

func (o Options) withDefaults() Options {
	setDefault(&o.HistoryMessages, DefaultHistoryMessages)
	setDefault(&o.HistoryBytes, DefaultHistoryBytes)
	setDefault(&o.HistoryAge, DefaultHistoryAge)
	setDefault(&o.RoomTTL, DefaultRoomTTL)
	setDefault(&o.TotalBytes, DefaultTotalBytes)
	setDefault(&o.MaxRooms, DefaultMaxRooms)
	setDefault(&o.MaxKeys, DefaultMaxKeys)
	setDefault(&o.MaxKeyBytes, DefaultMaxKeyBytes)
	setDefault(&o.MaxLeases, DefaultMaxLeases)
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func setDefault[T int | int64 | time.Duration](p *T, d T) {
	if *p == 0 {
		*p = d
	}
}

// maxKeys is the bound on keys that both options together give.
func (o Options) maxKeys() int64 { return min(int64(o.MaxKeys), o.MaxKeyBytes/KeyBytes) }
