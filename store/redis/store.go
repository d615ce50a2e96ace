package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/redis/rueidis"
)

// openTimeout is how long Open tries at most.
const openTimeout = 5 * time.Second

// readsAtOnce bounds the reads that wait for Redis, so that a Redis that does
// not answer cannot fill the client's pipeline.
const readsAtOnce = 256

// Store is a hub.Store in Redis. Make one with Open.
type Store struct {
	// Set once.
	opt         Options // with defaults
	addr        Address
	node        string // random, names this store's fences
	keys        *keys
	scripts     scripts
	client      rueidis.Client
	conns       *connections
	lanes       []*lane
	publishArgs []string // the arguments of the publish script that never change
	command     string   // PUBLISH or SPUBLISH
	reads       chan struct{}
	watch       *watch

	life        *life
	flights     flights
	clock       clock
	queuedBytes atomic.Int64
	complained  atomic.Int64 // when complain last did, in Unix seconds
}

var _ hub.Store = (*Store)(nil)

// Open connects to Redis. It fails, after 5 s at the latest, where Redis cannot
// be reached, does not let us in or is too old: a service that cannot work
// should say so when it starts. Afterwards Redis may go away and come back. See
// Check for what is worth a warning.
func Open(ctx context.Context, o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	addr, err := ParseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if addr.Mode == "cluster" {
		o.Lanes = partitions
	}
	var node [8]byte
	rand.Read(node[:])
	s := &Store{
		opt:     o,
		addr:    addr,
		node:    hex.EncodeToString(node[:]),
		keys:    newKeys(o.Prefix),
		scripts: newScripts(),
		conns:   newConnections(),
		command: "PUBLISH",
		reads:   make(chan struct{}, readsAtOnce),
		life:    newLife(),
		flights: flights{keys: make(map[flightKey]flight)},
	}
	if addr.Mode == "cluster" {
		s.command = "SPUBLISH" // PUBLISH goes to every node of a cluster
	}
	ms := func(d time.Duration) string { return strconv.FormatInt(max(1, d.Milliseconds()), 10) }
	s.publishArgs = []string{
		strconv.Itoa(o.HistoryCount), strconv.Itoa(slack(o.HistoryCount, 512)),
		strconv.Itoa(o.HistoryBytes), strconv.Itoa(slack(o.HistoryBytes, 64<<10)),
		ms(o.HistoryAge), ms(o.HeadTTL), ms(fenceTTL), s.command,
	}
	for i := range o.Lanes {
		s.lanes = append(s.lanes, &lane{store: s, fence: s.keys.fence(i, s.node, i)})
	}

	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if s.client, err = s.connect(ctx); err != nil {
		s.conns.close()
		return nil, fmt.Errorf("redis: cannot use %s: %w%s", addr, err, addr.hint(err))
	}
	if err := s.greet(ctx); err != nil {
		s.conns.close()
		s.client.Close()
		return nil, fmt.Errorf("redis: cannot use %s: %w%s", addr, err, addr.hint(err))
	}
	s.watch = newWatch(s)
	return s, nil
}

// connect makes the client, which itself knows no context.
func (s *Store) connect(ctx context.Context) (rueidis.Client, error) {
	type made struct {
		client rueidis.Client
		err    error
	}
	done := make(chan made, 1)
	go func() {
		c, err := rueidis.NewClient(s.addr.clientOption(s.opt, s.conns))
		if err != nil && c != nil {
			c.Close()
		}
		done <- made{c, err}
	}()
	select {
	case m := <-done:
		return m.client, m.err
	case <-ctx.Done():
		s.conns.close()
		go func() {
			if m := <-done; m.err == nil {
				m.client.Close()
			}
		}()
		return nil, fmt.Errorf("no answer: %w", ctx.Err())
	}
}

// greet learns Redis' clock and refuses servers that are too old.
func (s *Store) greet(ctx context.Context) error {
	t, err := s.time(ctx)
	if err != nil {
		return err
	}
	s.clock.observe(strconv.FormatInt(t, 10))
	info, err := s.info(ctx, "server")
	if err != nil {
		return nil // it is not ours to insist on INFO: Check tells
	}
	return checkVersion(info)
}

// time is Redis' time in Unix milliseconds.
func (s *Store) time(ctx context.Context) (int64, error) {
	t, err := s.client.Do(ctx, s.client.B().Time().Build()).AsIntSlice()
	if err != nil {
		return 0, err
	}
	if len(t) != 2 {
		return 0, errors.New("unreadable answer to TIME")
	}
	return t[0]*1000 + t[1]/1000, nil
}

// String names where the store is, without secrets.
func (s *Store) String() string { return "redis " + s.addr.String() }

// Ping implements hub.Store: it writes a key that lives ten seconds, for a
// server that answers may still take no writes.
func (s *Store) Ping(ctx context.Context) error {
	if !s.life.begin() {
		return hub.ErrClosed
	}
	defer s.life.end()
	cmd := s.client.B().Arbitrary("SET").Keys(s.keys.probe(0, s.node)).Args("1", "PX", "10000").Build()
	err := s.client.Do(ctx, cmd).Error()
	if err == nil {
		return nil
	}
	s.demoted(readOnly(err))
	return s.wrap(ctx, err)
}

// wrap is err as a caller of the store is told it.
func (s *Store) wrap(ctx context.Context, err error) error {
	switch {
	case isReply(err):
	case s.life.closed():
		return hub.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return unavailable(err)
}

// read runs a script that may be repeated freely: a broken connection is worth
// another try, as long as ctx lasts.
func (s *Store) read(ctx context.Context, sc script, keys, args []string) (rueidis.RedisResult, error) {
	select {
	case s.reads <- struct{}{}:
		defer func() { <-s.reads }()
	case <-ctx.Done():
		return rueidis.RedisResult{}, ctx.Err()
	case <-s.life.stopped:
		return rueidis.RedisResult{}, hub.ErrClosed
	}
	const tries = 3
	pause := firstPause
	for try := 1; ; try++ {
		r := sc.run(ctx, s.client, keys, args)
		err := r.Error()
		if err == nil {
			return r, nil
		}
		s.demoted(readOnly(err))
		if try == tries || isReply(err) || errors.Is(err, errDial) || ctx.Err() != nil || !s.life.sleep(jitter(pause)) {
			return r, s.wrap(ctx, err)
		}
		pause = min(2*pause, longestPause)
	}
}

// Close implements hub.Store. Publishes under way are told that their outcome
// is unknown.
func (s *Store) Close() error {
	if !s.life.stop() {
		return nil
	}
	s.conns.close() // what waits for an answer need not wait for a time-out
	s.watch.close()
	s.client.Close()
	s.life.work.Wait()
	return nil
}
