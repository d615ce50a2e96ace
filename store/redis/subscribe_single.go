package redis

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"
)

// A lost subscription is made anew after a pause between these, longer each
// time it fails.
const (
	firstReconnect   = 20 * time.Millisecond
	longestReconnect = 2 * time.Second
)

// probeEvery is how often it is checked that the subscriptions are where the
// publishes go.
const probeEvery = 10 * time.Second

var (
	errDisconnected = errors.New("redis: the connection for subscriptions is gone")
	errElsewhere    = errors.New("redis: the connection for subscriptions leads to another server")
)

// runSingle keeps the subscriptions on one connection of its own, for single
// servers and Sentinel.
func (w *watch) runSingle(ctx context.Context) {
	pause := firstReconnect
	for ctx.Err() == nil {
		select { // a node without watchers needs no connection
		case <-w.changed:
			w.kick()
		case <-ctx.Done():
			return
		}
		began := time.Now()
		err := w.session(ctx)
		if ctx.Err() != nil {
			return
		}
		w.mu.Lock()
		first := !w.down
		w.down = true
		for p := range w.parts {
			w.parts[p].confirmed = false
			w.parts[p].announce()
		}
		w.mu.Unlock()
		if first {
			w.store.opt.Logger.Warn("subscriptions to redis are lost; connecting again", "error", err)
		}
		if time.Since(began) > longestReconnect {
			pause = firstReconnect
		}
		select {
		case <-time.After(jitter(pause)):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, longestReconnect)
		w.kick()
	}
}

// session holds one connection until it breaks.
func (w *watch) session(ctx context.Context) error {
	client, _ := w.store.client.Dedicate()
	defer client.Close()

	// The channels of the one command under way that the server has not yet
	// confirmed. Guarded by w.mu, as OnSubscription runs elsewhere.
	awaited := make(map[int]bool)
	confirmed := make(chan struct{}, 1)
	gone := client.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage: func(m rueidis.PubSubMessage) {
			if m.Message != "" { // a probe is empty
				w.deliver(m.Channel, m.Message)
			}
		},
		OnSubscription: func(s rueidis.PubSubSubscription) {
			p, ok := w.partition[s.Channel]
			if !ok || s.Kind != "subscribe" {
				return
			}
			w.confirm(p)
			w.mu.Lock()
			delete(awaited, p)
			last := len(awaited) == 0
			w.mu.Unlock()
			if last {
				select {
				case confirmed <- struct{}{}:
				default:
				}
			}
		},
	})

	probe := w.store.keys.probe(0, w.store.node)
	if err := client.Do(ctx, client.B().Subscribe().Channel(probe).Build()).Error(); err != nil {
		return err
	}
	ticker := time.NewTicker(w.store.opt.probeEvery)
	defer ticker.Stop()

	var subscribed [partitions]bool
	for {
		var add, drop []string
		w.mu.Lock()
		for p := range w.parts {
			want := w.parts[p].rooms > 0
			if want == subscribed[p] {
				continue
			}
			subscribed[p] = want
			if want {
				add = append(add, w.store.keys.channel[p])
				awaited[p] = true
			} else {
				// From here on nobody may rely on it.
				w.parts[p].confirmed = false
				drop = append(drop, w.store.keys.channel[p])
			}
		}
		w.mu.Unlock()
		if len(drop) > 0 {
			if err := client.Do(ctx, client.B().Unsubscribe().Channel(drop...).Build()).Error(); err != nil {
				return err
			}
		}
		if len(add) > 0 {
			if err := client.Do(ctx, client.B().Subscribe().Channel(add...).Build()).Error(); err != nil {
				return err
			}
			// One command at a time, so that a confirmation cannot be taken for
			// that of a later one.
			select {
			case <-confirmed:
			case err := <-gone:
				return orGone(err)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		w.recover()
		select {
		case <-w.changed:
		case <-ticker.C:
			// After a failover this connection may live on, with a server that
			// hears of nothing any more. Redis says how many were told.
			c := w.store.client
			told, err := c.Do(ctx, c.B().Publish().Channel(probe).Message("").Build()).AsInt64()
			if err == nil && told == 0 {
				return errElsewhere
			}
		case err := <-gone:
			return orGone(err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// recover ends a time without subscriptions: everything may have changed.
func (w *watch) recover() {
	w.mu.Lock()
	if !w.down {
		w.mu.Unlock()
		return
	}
	w.down = false
	for p := range w.parts {
		if w.parts[p].confirmed {
			w.parts[p].stale = false
		}
	}
	doubts := w.doubtsOfAll()
	w.mu.Unlock()
	resync(doubts)
	w.store.opt.Logger.Info("subscriptions to redis are back")
}

func orGone(err error) error {
	if err == nil {
		return errDisconnected
	}
	return err
}
