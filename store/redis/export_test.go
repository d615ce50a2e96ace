package redis

import (
	"context"
	"time"
)

// SetPatience replaces the time that an epoch not yet known is waited for.
func (o *Options) SetPatience(d time.Duration) { o.patience = d }

// SetProbeEvery replaces the time between two looks at where subscriptions are.
func (o *Options) SetProbeEvery(d time.Duration) { o.probeEvery = d }

// PublishScript is the text of the publish script and its hash.
func (s *Store) PublishScript() (text, sha string) {
	return s.scripts.publish.text, s.scripts.publish.sha
}

// KeyOf names keys as the store does.
func (s *Store) HeadKey(room string) string { return s.keys.head(partitionOf(room), escape(room)) }

func (s *Store) StreamKey(room string) string { return s.keys.stream(partitionOf(room), escape(room)) }

func (s *Store) DedupeKey(room, subject, key string) string {
	return s.keys.dedupe(partitionOf(room), escape(room), subject, key)
}

func (s *Store) Channel(room string) string { return s.keys.channel[partitionOf(room)] }

// Watched says how many partitions are subscribed to.
func (s *Store) Watched() (n int) {
	s.watch.mu.RLock()
	defer s.watch.mu.RUnlock()
	for _, p := range s.watch.parts {
		if p.confirmed {
			n++
		}
	}
	return n
}

// Do runs any command.
func (s *Store) Do(ctx context.Context, args ...string) (any, error) {
	return s.client.Do(ctx, s.client.B().Arbitrary(args...).Build()).ToAny()
}

// KeyHeld says whether a publish with the key is under way.
func (s *Store) KeyHeld(room, subject, key string) bool {
	s.flights.mu.Lock()
	defer s.flights.mu.Unlock()
	_, ok := s.flights.keys[flightKey{room, subject, key}]
	return ok
}

// PublishArgs are the arguments of the publish script that never change.
func (s *Store) PublishArgs() []string { return append([]string(nil), s.publishArgs...) }

// Sending is how many lanes have a call under way.
func (s *Store) Sending() (n int) {
	for _, l := range s.lanes {
		l.mu.Lock()
		if l.running && len(l.queue) == 0 {
			n++
		}
		l.mu.Unlock()
	}
	return n
}

// Sent counts what was written to connections.
func (s *Store) Sent() uint64 { return s.conns.sent.Load() }
