package hub

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"
)

// Options configure a Hub. The zero value of every field but Framings is its
// documented default.
type Options struct {
	// Framings are the wire forms, at most 16. A Form is an index into them.
	Framings []Framing
	// NodeID names this node in presence leases and in hello; random if empty.
	NodeID string
	// Logger hears of faults; nothing is logged on the delivery path. Default:
	// discard.
	Logger *slog.Logger

	// Workers is the number of goroutines that fan out. Default: one per core.
	Workers int
	// LogMessages and LogBytes bound the log of one room: 1,000 and 1 MiB. A
	// reader that falls further behind reads from the store.
	LogMessages int
	LogBytes    int
	// TotalBytes bounds what all logs and unsent remainders hold: 256 MiB.
	TotalBytes int64
	// Linger is how long a room's log stays after its last reader: 60 s, for
	// polls come and go.
	Linger time.Duration
	// WriteBytes is the most that one write carries: 64 KiB.
	WriteBytes int
	// WriteTimeout is how long a connection may take nothing at all before it
	// is ended as slow: 30 s.
	WriteTimeout time.Duration
	// EndTimeout bounds the last words to an ending connection: 2 s.
	EndTimeout time.Duration
	// Heartbeat is the silence after which a connection hears something: 15 s.
	Heartbeat time.Duration
	// StoreTimeout bounds one read of the store: 5 s.
	StoreTimeout time.Duration
	// CheckInterval is how often the heads of rooms with readers are compared
	// with the store's: 20 s. It repairs what a lossy watch has missed.
	CheckInterval time.Duration

	// MaxRoomsPerSubscriber: 100.
	MaxRoomsPerSubscriber int
	// MaxSubscribers bounds connections and waiting polls: 100,000.
	MaxSubscribers int

	// KeyTTL is the life of an idempotency key whose Publish does not say: 1 h.
	KeyTTL time.Duration
	// PresenceTTL is the life of a presence lease that nobody renews, which is
	// how long a node that died keeps its clients present: 30 s.
	PresenceTTL time.Duration
	// PresenceGrace is how long a client whose last connection ended may take
	// to come back before it has left: 10 s; PollGrace is the same after a
	// poll: 30 s.
	PresenceGrace time.Duration
	PollGrace     time.Duration
}

// maxForms bounds Options.Framings: every worker has a place for each.
const maxForms = 16

// Validate reports the first field that cannot be used.
func (o Options) Validate() error {
	if len(o.Framings) > maxForms {
		return fmt.Errorf("hub: %d framings, %d are allowed", len(o.Framings), maxForms)
	}
	for name, n := range map[string]int64{
		"Workers": int64(o.Workers), "LogMessages": int64(o.LogMessages), "LogBytes": int64(o.LogBytes), "TotalBytes": o.TotalBytes,
		"Linger": int64(o.Linger), "WriteBytes": int64(o.WriteBytes), "WriteTimeout": int64(o.WriteTimeout),
		"EndTimeout": int64(o.EndTimeout), "Heartbeat": int64(o.Heartbeat), "StoreTimeout": int64(o.StoreTimeout),
		"CheckInterval": int64(o.CheckInterval), "MaxRoomsPerSubscriber": int64(o.MaxRoomsPerSubscriber),
		"MaxSubscribers": int64(o.MaxSubscribers), "KeyTTL": int64(o.KeyTTL), "PresenceTTL": int64(o.PresenceTTL),
		"PresenceGrace": int64(o.PresenceGrace), "PollGrace": int64(o.PollGrace),
	} {
		if n < 0 {
			return fmt.Errorf("hub: %s is negative", name)
		}
	}
	if o.Heartbeat > maxHeartbeat {
		return fmt.Errorf("hub: Heartbeat is over %v", maxHeartbeat)
	}
	if o.NodeID != "" && ValidateRoom(o.NodeID) != nil {
		return errors.New("hub: NodeID must be 1-200 bytes of A-Z a-z 0-9 . _ ~ : @ -")
	}
	return nil
}

func (o Options) withDefaults() Options {
	def(&o.NodeID, NewMessageID())
	def(&o.Logger, slog.New(slog.DiscardHandler))
	def(&o.Workers, runtime.GOMAXPROCS(0))
	def(&o.LogMessages, 1000)
	def(&o.LogBytes, 1<<20)
	def(&o.TotalBytes, 256<<20)
	def(&o.Linger, time.Minute)
	def(&o.WriteBytes, 64<<10)
	def(&o.WriteTimeout, 30*time.Second)
	def(&o.EndTimeout, 2*time.Second)
	def(&o.Heartbeat, 15*time.Second)
	def(&o.StoreTimeout, 5*time.Second)
	def(&o.CheckInterval, 20*time.Second)
	def(&o.MaxRoomsPerSubscriber, 100)
	def(&o.MaxSubscribers, 100_000)
	def(&o.KeyTTL, time.Hour)
	def(&o.PresenceTTL, 30*time.Second)
	def(&o.PresenceGrace, 10*time.Second)
	def(&o.PollGrace, 30*time.Second)
	return o
}

func def[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}
