package middlebox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config is where a box stands.
type Config struct {
	// Upstream is the server behind it, as host:port.
	Upstream string
	// Forward lets requests with a whole URL, and CONNECT, go to the host that
	// they name instead of Upstream.
	Forward bool
	// Listener to serve. nil: a free port on 127.0.0.1. The box closes it.
	Listener net.Listener
	// Dial opens upstream connections. nil: TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Options to begin with.
	Options Options
}

// Stats count since the start.
type Stats struct {
	// Connections from clients; Requests in them, Upgrades among these.
	Connections, Requests, Upgrades int
	// Tunnels are upgrades and CONNECTs that passed.
	Tunnels int
	// Forwarded requests reached the server, repeats not counted.
	Forwarded int
	// Refused by the box itself: methods, limits, upgrades, Options.Answer.
	Refused int
	// Repeated, Lost (by Loss or DropReused), Cached, Merged: as the options of
	// these names did.
	Repeated, Lost, Cached, Merged int
}

// Box is a running middlebox.
type Box struct {
	// Set once.
	listener net.Listener
	upstream string
	forward  bool
	dial     func(ctx context.Context, address string) (net.Conn, error)
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	options atomic.Pointer[Options]

	mu       sync.Mutex
	closed   bool               // guarded by mu
	random   *rand.Rand         // guarded by mu
	links    map[*link]struct{} // guarded by mu
	stats    Stats              // guarded by mu
	answered int                // guarded by mu; requests considered for Options.Answer
	cache    map[string]*stored // guarded by mu
	flights  map[string]*stored // guarded by mu
	changed  chan struct{}      // guarded by mu; closed by Set
}

// Start starts a box.
func Start(c Config) (*Box, error) {
	if err := c.Options.Validate(); err != nil {
		return nil, err
	}
	if c.Upstream == "" && !c.Forward {
		return nil, errors.New("middlebox: no upstream")
	}
	if c.Listener == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("middlebox: %w", err)
		}
		c.Listener = l
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}
	}
	b := &Box{
		listener: c.Listener, upstream: c.Upstream, forward: c.Forward, dial: c.Dial,
		links: map[*link]struct{}{}, flights: map[string]*stored{}, changed: make(chan struct{}),
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.install(c.Options)
	b.wg.Go(b.accept)
	return b, nil
}

// Addr is where it listens, as host:port.
func (b *Box) Addr() string { return b.listener.Addr().String() }

// URL is the address for a browser, without a slash at its end.
func (b *Box) URL() string { return "http://" + b.Addr() }

// Options returns those in force.
func (b *Box) Options() Options { return *b.options.Load() }

// Set puts other options in force: at once for frames, with the next request
// for responses and requests, with the next connection for whole connections.
// The cache is emptied and the sequence of chance starts again.
func (b *Box) Set(o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	b.install(o)
	return nil
}

func (b *Box) install(o Options) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.random = rand.New(rand.NewPCG(o.Seed, 0x6d6964646c65)) // any second half does
	b.answered = 0
	b.cache = map[string]*stored{}
	b.options.Store(&o)
	close(b.changed)
	b.changed = make(chan struct{})
}

// change returns a channel that is closed when the options change.
func (b *Box) change() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

// Stats returns the counts.
func (b *Box) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats
}

func (b *Box) count(field func(*Stats)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	field(&b.stats)
}

// Freeze forgets all open connections: they stay open, and nothing passes in
// them any more.
func (b *Box) Freeze() {
	for _, l := range b.open() {
		l.freeze()
	}
}

// Cut resets all open connections at both ends.
func (b *Box) Cut() {
	for _, l := range b.open() {
		l.reset()
	}
}

func (b *Box) open() []*link {
	b.mu.Lock()
	defer b.mu.Unlock()
	links := make([]*link, 0, len(b.links))
	for l := range b.links {
		links = append(links, l)
	}
	return links
}

// Close ends the box and everything in it, and waits for it.
func (b *Box) Close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	_ = b.listener.Close()
	for _, l := range b.open() {
		l.close()
	}
	b.wg.Wait()
}

func (b *Box) accept() {
	for {
		c, err := b.listener.Accept()
		if err != nil {
			return
		}
		l := newLink(b, c)
		b.mu.Lock()
		if b.closed {
			b.mu.Unlock()
			l.close()
			continue
		}
		b.links[l] = struct{}{}
		b.stats.Connections++
		b.mu.Unlock()
		b.wg.Go(func() {
			defer func() {
				l.close()
				b.mu.Lock()
				delete(b.links, l)
				b.mu.Unlock()
			}()
			b.serve(l)
		})
	}
}

// chance is true for a share of the calls.
func (b *Box) chance(share float64) bool {
	if share <= 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.random.Float64() < share
}

func (b *Box) jitter(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Duration(b.random.Int64N(int64(most)))
}

// serve answers the requests of one client connection.
func (b *Box) serve(l *link) {
	reader := bufio.NewReader(l.client)
	for first := true; ; first = false {
		r, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		x := &exchange{box: b, link: l, reader: reader, request: r, options: b.optionsFor(r), reused: !first}
		if !x.run() {
			return
		}
	}
}

func (b *Box) optionsFor(r *http.Request) *Options {
	o := b.options.Load()
	if o.Only != nil && !o.Only(r) {
		return &Options{}
	}
	return o
}

func upgrades(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" && slices.ContainsFunc(r.Header.Values("Connection"), func(v string) bool {
		return containsToken(v, "upgrade")
	})
}
