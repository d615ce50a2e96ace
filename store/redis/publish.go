package redis

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/culvertd/culvert/hub"
)

// errBadID is a defect of the caller: a hub makes ids.
var errBadID = errors.New("redis: a message's id must be letters and digits")

// What may have become of an item. Guarded by its lane's mu.
const (
	queued  = iota
	dropped // left the queue before it was sent
	sent
	settled
)

// item is one message on its way. It owns copies of what it needs: the caller
// may have left before its lane is done with it.
type item struct {
	call *call

	// Set once.
	partition            int
	room, id, from, data string
	sizes                string // of id, from and data, for the frame
	ephemeral            bool
	head, stream         string // keys; "" where ephemeral
	key                  string // key, "" for none
	print, keep          string // fingerprint and TTL of the key; "" for none
	flight               flightKey

	state  int8       // guarded by the lane's mu
	left   bool       // nobody waits for it any more; guarded by the lane's mu
	result hub.Result // written by the lane before call.pending counts it
}

// size is what the item counts for in bounds on memory and batches.
func (it *item) size() int { return len(it.data) + len(it.room) + len(it.from) + 128 }

// call is one call of Publish.
type call struct {
	pending atomic.Int32
	done    chan struct{} // closed when pending has reached zero
	items   []item
	one     [1]item // what items is of, in the usual case
}

// Publish implements hub.Store.
func (s *Store) Publish(ctx context.Context, batch []hub.Publish) []hub.Result {
	results := make([]hub.Result, len(batch))
	fail := func(err error) []hub.Result {
		for i := range results {
			results[i].Err = err
		}
		return results
	}
	if len(batch) == 0 {
		return results
	}
	if !s.life.begin() {
		return fail(hub.ErrClosed)
	}
	defer s.life.end()
	if err := ctx.Err(); err != nil {
		return fail(fmt.Errorf("%w: %w", hub.ErrUnavailable, err))
	}

	var busy []bool
	for i := range batch {
		if batch[i].Key != "" {
			busy = s.flights.claim(ctx, batch)
			break
		}
	}

	c := &call{done: make(chan struct{})}
	if c.items = c.one[:]; len(batch) > 1 {
		c.items = make([]item, len(batch))
	}
	c.pending.Store(int32(len(batch)))
	for i := range batch {
		it := &c.items[i]
		s.fill(it, c, &batch[i])
		var err error
		switch {
		case busy != nil && busy[i]:
			it.flight = flightKey{} // another one's
			err = hub.ErrKeyInProgress
		case !plain(it.id) || it.id == "":
			err = errBadID
		case !it.ephemeral && it.size() > s.opt.HistoryBytes:
			err = fmt.Errorf("%w: it counts %d bytes, the history of a room has %d", hub.ErrTooLarge, it.size(), s.opt.HistoryBytes)
		default:
			err = s.lane(it.partition).push(it)
		}
		if err != nil {
			it.state = settled
			it.result.Err = err
			s.finish(it)
		}
	}
	for i := range c.items {
		s.lane(c.items[i].partition).start()
	}

	timeout := s.opt.PublishTimeout
	var timer <-chan time.Time
	if end, ok := ctx.Deadline(); !ok || time.Until(end) > timeout {
		t := time.NewTimer(timeout)
		defer t.Stop()
		timer = t.C
	}
	var why error
	select {
	case <-c.done:
	case <-ctx.Done():
		why = ctx.Err()
	case <-timer:
		why = errNoAnswer
	case <-s.life.stopped:
		why = hub.ErrClosed
	}
	for i := range c.items {
		if why == nil {
			results[i] = c.items[i].result
		} else {
			results[i] = s.lane(c.items[i].partition).leave(&c.items[i], why)
		}
	}
	return results
}

// fill makes the item of an element.
func (s *Store) fill(it *item, c *call, p *hub.Publish) {
	it.call = c
	it.partition = partitionOf(p.Room)
	it.room = escape(p.Room)
	it.id, it.from, it.data = p.ID, p.From, string(p.Data)
	it.sizes = strconv.Itoa(len(p.ID)) + " " + strconv.Itoa(len(p.From)) + " " + strconv.Itoa(len(p.Data))
	it.ephemeral = p.Ephemeral
	if !p.Ephemeral {
		it.head = s.keys.head(it.partition, it.room)
		it.stream = s.keys.stream(it.partition, it.room)
	}
	if p.Key != "" {
		it.key = s.keys.dedupe(it.partition, it.room, p.Subject, p.Key)
		it.print = hex.EncodeToString(p.Fingerprint[:])
		ttl := p.KeyTTL
		if ttl <= 0 {
			ttl = s.opt.KeyTTL
		}
		it.keep = strconv.FormatInt(max(1, ttl.Milliseconds()), 10)
		it.flight = keyOf(p)
	}
}

// finish is called once an item's result is there: it frees what the item held
// and, for the last of its call, wakes the caller.
func (s *Store) finish(it *item) {
	if it.flight.key != "" {
		s.flights.release(it.flight)
	}
	if it.call.pending.Add(-1) == 0 {
		close(it.call.done)
	}
}

func (s *Store) lane(partition int) *lane { return s.lanes[partition&(len(s.lanes)-1)] }
