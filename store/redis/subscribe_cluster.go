package redis

import (
	"context"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// runCluster keeps the subscriptions in a cluster: sharded ones, each on the
// connection that the client has to the node of its partition anyway. One
// goroutine waits for the end of each.
func (w *watch) runCluster(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	var started [partitions]bool // guarded by w.mu, as the goroutines end by themselves
	for {
		w.mu.Lock()
		for p := range w.parts {
			if w.parts[p].rooms > 0 && !started[p] {
				started[p] = true
				running.Add(1)
				go func() {
					defer running.Done()
					w.keep(ctx, p, &started[p])
				}()
			}
			if w.parts[p].rooms == 0 && w.parts[p].confirmed {
				// From here on nobody may rely on it. The answer ends Receive.
				w.parts[p].confirmed = false
				c := w.store.client
				running.Add(1)
				go func() {
					defer running.Done()
					c.Do(ctx, c.B().Sunsubscribe().Channel(w.store.keys.channel[p]).Build())
				}()
			}
		}
		w.mu.Unlock()
		select {
		case <-w.changed:
		case <-ctx.Done():
			return
		}
	}
}

// keep subscribes to a partition again and again while it is wanted.
func (w *watch) keep(ctx context.Context, p int, started *bool) {
	channel := w.store.keys.channel[p]
	pause := firstReconnect
	for {
		began := time.Now()
		hooked := rueidis.WithOnSubscriptionHook(ctx, func(s rueidis.PubSubSubscription) {
			if s.Kind == "ssubscribe" && s.Channel == channel {
				w.confirm(p)
			}
		})
		c := w.store.client
		err := c.Receive(hooked, c.B().Ssubscribe().Channel(channel).Build(), func(m rueidis.PubSubMessage) {
			w.deliver(m.Channel, m.Message)
		})
		w.lose(p)
		if time.Since(began) > longestReconnect {
			pause = firstReconnect
		}
		w.mu.Lock()
		done := w.parts[p].rooms == 0 || ctx.Err() != nil
		if done {
			*started = false
			w.parts[p].lost = false
		}
		w.mu.Unlock()
		if done {
			return
		}
		if err != nil {
			w.store.opt.Logger.Warn("a subscription to redis is lost; subscribing again", "channel", channel, "error", err)
		}
		select {
		case <-time.After(jitter(pause)):
		case <-ctx.Done():
		}
		pause = min(2*pause, longestReconnect)
	}
}
