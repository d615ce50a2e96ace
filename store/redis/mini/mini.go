// Package mini runs the Redis store on a Redis inside the process, for
// developers: real keys to look at with redis-cli, and nothing to install. It
// is slow, forgets everything at its end, and grows with every key it ever had:
// never for a service.
package mini

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/culvertd/culvert/store/redis"
)

// Keys expire when time is moved on, all at once, which takes the longer the
// more keys there are: it is done this often, but never more than a twentieth
// of the time.
const (
	shortestTick = 100 * time.Millisecond
	longestTick  = 10 * time.Second
)

// Store is a Redis store with its own Redis.
type Store struct {
	*redis.Store
	// Addr is where redis-cli finds it, host:port.
	Addr string

	server  *miniredis.Miniredis
	stop    chan struct{}
	ticking sync.WaitGroup
	once    sync.Once
}

// Open starts a Redis on addr, a loopback address ("127.0.0.1:0" where empty,
// which takes a free port), and a store on it. The options' URL is not used.
func Open(ctx context.Context, addr string, o redis.Options) (*Store, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	if err := checkLoopback(addr); err != nil {
		return nil, err
	}
	m := miniredis.NewMiniRedis()
	if err := m.StartAddr(addr); err != nil {
		return nil, fmt.Errorf("miniredis: %w", err)
	}
	o.URL = "redis://" + m.Addr()
	o.RESP2 = true
	store, err := redis.Open(ctx, o)
	if err != nil {
		m.Close()
		return nil, err
	}
	s := &Store{Store: store, Addr: m.Addr(), server: m, stop: make(chan struct{})}
	s.ticking.Go(s.tick)
	return s, nil
}

// checkLoopback: there is no password.
func checkLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("miniredis: bad address, wanted host:port: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errors.New("miniredis: the address must be a loopback one, for it has no password")
	}
	return nil
}

// tick lets keys expire.
func (s *Store) tick() {
	last := time.Now()
	pause := shortestTick
	for {
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-s.stop:
			t.Stop()
			return
		}
		now := time.Now()
		s.server.FastForward(now.Sub(last))
		pause = min(max(shortestTick, 20*time.Since(now)), longestTick)
		last = now
	}
}

// Close closes the store and ends its Redis, with all that was in it.
func (s *Store) Close() error {
	err := s.Store.Close()
	s.once.Do(func() {
		close(s.stop)
		s.ticking.Wait()
		s.server.Close()
	})
	return err
}
