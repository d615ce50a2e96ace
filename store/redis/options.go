package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Options say where Redis is and how much it keeps. The zero value of every
// field but URL is usable.
type Options struct {
	// URL says where Redis is, see ParseURL for its forms.
	URL string
	// Prefix begins every key, so that several services can share a database:
	// 1-64 characters of a-z A-Z 0-9 . _ ~ : @ -. Default "culvert".
	Prefix string
	// TLSConfig replaces the one that a rediss URL gives.
	TLSConfig *tls.Config
	// RESP2 speaks the older protocol, for servers that lack RESP3.
	RESP2 bool

	// DialTimeout bounds connecting, and again the handshake. Default 2 s.
	DialTimeout time.Duration
	// CommandTimeout is how long a connection may owe an answer before it is
	// given up (found out by pings, so up to a second later). Default 2 s.
	CommandTimeout time.Duration
	// PublishTimeout bounds one publish with all its repetitions, where the
	// caller's context does not end before. Default 10 s, at most 60 s.
	PublishTimeout time.Duration

	// HistoryCount is how many messages a room keeps at least, if they are
	// within the other bounds (at most a sixteenth more are kept, so that
	// trimming is done in bulk). Default 1,000, at most 100,000.
	HistoryCount int
	// HistoryBytes bounds the sum of a room's messages' sizes (see
	// hub.Message.Size; again up to a sixteenth more). Default 1 MiB.
	HistoryBytes int
	// HistoryAge is how long a message is kept. Default 24 h.
	HistoryAge time.Duration
	// HeadTTL is how long a room's position outlives its last message and
	// reader. A cursor older than that meets a new epoch. Default 7 days; at
	// least HistoryAge.
	HeadTTL time.Duration
	// KeyTTL is how long an idempotency key is kept where the publish does not
	// say. Default 1 h.
	KeyTTL time.Duration

	// QueueLen bounds the publishes waiting for Redis in one lane; past it they
	// are refused with ErrUnavailable. Default 16,384.
	QueueLen int
	// QueueBytes bounds the data of all that wait on this node, in all lanes.
	// Default 64 MiB.
	QueueBytes int
	// BatchLen and BatchBytes bound what goes into one call of the publish
	// script, and with it how long the call keeps Redis from others. Default
	// 128 messages (one or two milliseconds) and 256 KiB.
	BatchLen, BatchBytes int
	// Lanes is how many calls of the publish script may be under way at once: a
	// power of two up to 256. With two, one is on its way while Redis works on
	// the other, and what waits goes out in few large calls, which cost Redis
	// least. More pay where Redis is many milliseconds away. Default 2; a cluster
	// always has 256, one for each partition.
	Lanes int

	// These replace constants, in tests.
	patience, probeEvery time.Duration

	// Logger hears of connections lost and found. Default: nothing is logged.
	Logger *slog.Logger
}

// DefaultPrefix begins the keys where Options.Prefix is empty.
const DefaultPrefix = "culvert"

// The most that Options may ask for.
const (
	MaxHistoryCount = 100_000
	MaxHistoryBytes = 1 << 30
	MaxHistoryAge   = 366 * 24 * time.Hour
	MaxHeadTTL      = 2 * MaxHistoryAge
)

func (o Options) withDefaults() Options {
	set := func(p *int, n int) {
		if *p == 0 {
			*p = n
		}
	}
	setTime := func(p *time.Duration, d time.Duration) {
		if *p == 0 {
			*p = d
		}
	}
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	setTime(&o.DialTimeout, 2*time.Second)
	setTime(&o.CommandTimeout, 2*time.Second)
	setTime(&o.PublishTimeout, 10*time.Second)
	set(&o.HistoryCount, 1000)
	set(&o.HistoryBytes, 1<<20)
	setTime(&o.HistoryAge, 24*time.Hour)
	setTime(&o.HeadTTL, max(7*24*time.Hour, o.HistoryAge))
	setTime(&o.KeyTTL, time.Hour)
	set(&o.QueueLen, 16384)
	set(&o.QueueBytes, 64<<20)
	set(&o.BatchLen, 128)
	set(&o.BatchBytes, 256<<10)
	set(&o.Lanes, 2)
	setTime(&o.patience, patience)
	setTime(&o.probeEvery, probeEvery)
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return o
}

// Validate reports every option that cannot be used. The URL's password is in
// none of the messages.
func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("redis: "+format, args...)) }

	if _, err := ParseURL(o.URL); err != nil {
		errs = append(errs, err)
	}
	if len(o.Prefix) > 64 || !plain(o.Prefix) {
		bad("the key prefix must be 1-64 characters of a-z A-Z 0-9 . _ ~ : @ -")
	}
	between := func(name string, n, low, high int) {
		if n < low || n > high {
			bad("%s is %d, %d to %d is allowed", name, n, low, high)
		}
	}
	betweenTimes := func(name string, d, low, high time.Duration) {
		if d < low || d > high {
			bad("%s is %v, %v to %v is allowed", name, d, low, high)
		}
	}
	betweenTimes("DialTimeout", o.DialTimeout, 10*time.Millisecond, time.Minute)
	betweenTimes("CommandTimeout", o.CommandTimeout, 10*time.Millisecond, time.Minute)
	betweenTimes("PublishTimeout", o.PublishTimeout, 10*time.Millisecond, time.Minute)
	betweenTimes("HistoryAge", o.HistoryAge, time.Millisecond, MaxHistoryAge)
	betweenTimes("HeadTTL", o.HeadTTL, o.HistoryAge, MaxHeadTTL)
	betweenTimes("KeyTTL", o.KeyTTL, time.Millisecond, MaxHistoryAge)
	between("HistoryCount", o.HistoryCount, 1, MaxHistoryCount)
	between("HistoryBytes", o.HistoryBytes, 256, MaxHistoryBytes)
	between("QueueLen", o.QueueLen, 1, 1<<20)
	between("QueueBytes", o.QueueBytes, 1, 1<<40)
	between("BatchLen", o.BatchLen, 1, 1024)
	between("BatchBytes", o.BatchBytes, 1, 64<<20)
	between("Lanes", o.Lanes, 1, partitions)
	if o.Lanes&(o.Lanes-1) != 0 {
		bad("Lanes is %d, it must be a power of two", o.Lanes)
	}
	return errors.Join(errs...)
}

// slack is by how much a bound of n may be passed before trimming goes back to
// it: small bounds are kept exactly, large ones in bulk.
func slack(n, exact int) int {
	if n < exact {
		return 0
	}
	return n / 16
}
