//go:build unix

package redis_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/redis"
)

// placeFraming writes an event as a line "kind place rest", so that a client
// can go on from any of them.
type placeFraming struct{}

func (placeFraming) Append(dst []byte, ev *hub.Event) []byte {
	switch ev.Kind {
	case hub.EventMessage:
		return fmt.Appendf(dst, "msg %s %s\n", ev.At, ev.Message.Data)
	case hub.EventGap:
		return fmt.Appendf(dst, "gap %s %s %s\n", ev.At, ev.Gap.From, ev.Gap.Reason)
	}
	return dst
}
func (placeFraming) CursorInFrame() bool                                  { return false }
func (placeFraming) AppendWithCursor(dst, wire, _ []byte) []byte          { return append(dst, wire...) }
func (placeFraming) AppendHeartbeat(dst []byte, _ int64, _ []byte) []byte { return dst }
func (placeFraming) AppendEnd(dst []byte, _ hub.End, _ []byte) []byte     { return dst }

// lineConn is a connection that gathers what is written.
type lineConn struct {
	mu     sync.Mutex
	buf    []byte
	closed bool
}

func (c *lineConn) TryWrite(p []byte) (int, error) { return c.Write(p) }
func (c *lineConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, io.ErrClosedPipe
	}
	c.buf = append(c.buf, p...)
	return len(p), nil
}
func (c *lineConn) SetWriteDeadline(time.Time) error { return nil }
func (c *lineConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}
func (c *lineConn) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := string(c.buf)
	c.buf = nil
	return s
}

// chaos is two nodes on one Redis that suffers, publishers that repeat what
// they are unsure of, and clients that change node and way of reading.
type chaos struct {
	*testing.T
	srv   *server
	hubs  []*hub.Hub
	lossy bool
	stop  chan struct{} // closed when the clients may end, once they are up to date

	mu        sync.Mutex
	acked     map[string]hub.Position
	delivered int
	gaps      int
	moves     int
}

// TestTwoNodes: nobody misses, repeats or reorders a message without a gap that
// says so, whatever happens to Redis and the connections to it. Where Redis
// keeps its data there is no gap at all.
func TestTwoNodes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("CULVERT_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	for name, lossy := range map[string]bool{"Kept": false, "Lossy": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Logf("repeat with CULVERT_SEED=%d", seed)
			runChaos(t, seed, lossy)
		})
	}
}

func runChaos(t *testing.T, seed uint64, lossy bool) {
	args := []string{"--appendonly", "yes", "--appendfsync", "always"}
	if lossy {
		args = nil
	}
	c := &chaos{T: t, srv: startServer(t, args...), lossy: lossy, stop: make(chan struct{}), acked: map[string]hub.Position{}}
	for range 2 {
		o := redis.Options{URL: c.srv.url(), CommandTimeout: 200 * time.Millisecond, DialTimeout: 300 * time.Millisecond}
		o.SetPatience(300 * time.Millisecond)
		s := open(t, o)
		h, err := hub.New(s, hub.Options{
			Framings: []hub.Framing{placeFraming{}}, CheckInterval: 300 * time.Millisecond, StoreTimeout: time.Second, Linger: time.Second, LogMessages: 50,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		c.hubs = append(c.hubs, h)
	}

	var publishers, clients sync.WaitGroup
	done := make(chan struct{})
	for i := range 3 {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		publishers.Go(func() { c.publish(rng, i, done) })
	}
	all := make([]*chaosClient, 6)
	for i := range all {
		all[i] = &chaosClient{chaos: c, name: fmt.Sprint("client", i), rng: rand.New(rand.NewPCG(seed, uint64(100+i)))}
		clients.Go(all[i].run)
	}
	c.suffer(rand.New(rand.NewPCG(seed, 1000)))
	close(done)
	publishers.Wait()
	// A last one, which everybody has to receive.
	end := c.publishOne("end", "end")
	close(c.stop)
	clients.Wait()
	c.judge(all, end)
	c.Logf("%d acknowledged, %d delivered, %d changes of node or way, %d gaps", len(c.acked), c.delivered, c.moves, c.gaps)
}

// suffer does to Redis what happens to servers.
func (c *chaos) suffer(rng *rand.Rand) {
	killer := open(c, redis.Options{URL: c.srv.url(), Prefix: "killer", DialTimeout: 300 * time.Millisecond, CommandTimeout: 300 * time.Millisecond})
	until := time.Now().Add(6 * time.Second)
	if testing.Short() {
		until = time.Now().Add(2 * time.Second)
	}
	for time.Now().Before(until) {
		time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond)
		switch rng.IntN(8) {
		case 0, 1, 2:
			killer.Do(context.Background(), "CLIENT", "KILL", "SKIPME", "yes")
		case 3:
			killer.Do(context.Background(), "CLIENT", "KILL", "TYPE", "pubsub")
		case 4:
			c.srv.freeze()
			time.Sleep(time.Duration(rng.IntN(500)) * time.Millisecond)
			c.srv.thaw()
		case 5:
			killer.Do(context.Background(), "CLIENT", "PAUSE", strconv.Itoa(rng.IntN(400)), "WRITE")
		case 6:
			if c.lossy && rng.IntN(2) == 0 {
				killer.Do(context.Background(), "SAVE")
			}
		case 7:
			if rng.IntN(2) == 0 || c.lossy {
				c.srv.kill() // what was not saved is gone
			} else {
				c.srv.stop()
			}
			time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
			c.srv.start()
		}
	}
}

func (c *chaos) publish(rng *rand.Rand, who int, done <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		case <-time.After(time.Duration(rng.IntN(30)) * time.Millisecond):
		}
		c.publishOne(fmt.Sprintf("%d-%d", who, i), fmt.Sprintf("%d-%d", who, i))
	}
}

// publishOne repeats until it knows.
func (c *chaos) publishOne(key, text string) hub.Position {
	data := fmt.Appendf(nil, "%q", text)
	for n := 0; ; n++ {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		r := c.hubs[n%len(c.hubs)].Publish(ctx, []hub.Publish{{Room: "room", Data: data, Key: key, Fingerprint: hub.FingerprintOf(data, false)}})[0]
		cancel()
		if r.Err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.acked[string(data)] = r.Position
			return r.Position
		}
		if !errors.Is(r.Err, hub.ErrUnavailable) && !errors.Is(r.Err, hub.ErrOutcomeUnknown) && !errors.Is(r.Err, hub.ErrKeyInProgress) {
			c.Errorf("publish: %v", r.Err)
			return hub.Position{}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// judge compares what is there with what was promised and received.
func (c *chaos) judge(all []*chaosClient, end hub.Position) {
	page, err := c.hubs[0].Read(context.Background(), hub.ReadRequest{Room: "room", Mode: hub.ReadOldest, Limit: 10_000})
	if err != nil {
		c.Fatal(err)
	}
	if page.Head != end {
		c.Errorf("the room is at %v, the last publish was %v", page.Head, end)
	}
	there := map[hub.Position]string{}
	times := map[string]int{}
	for _, m := range page.Messages {
		there[m.Position()] = string(m.Data)
		if times[string(m.Data)]++; times[string(m.Data)] > 1 {
			c.Errorf("%s is in the history twice", m.Data)
		}
	}
	if !c.lossy {
		for data, p := range c.acked {
			if there[p] != data {
				c.Errorf("%s was acknowledged at %v, there is %q", data, p, there[p])
			}
		}
	}
	for _, client := range all {
		if client.at != page.Head {
			c.Errorf("%s stands at %v, the room at %v", client.name, client.at, page.Head)
		}
		for _, m := range client.sinceGap {
			if m.at.Offset > page.Floor.Offset && there[m.at] != m.data {
				c.Errorf("%s holds %s at %v, and was told no gap; the room has %q there", client.name, m.data, m.at, there[m.at])
			}
		}
	}
	if c.delivered == 0 || c.moves == 0 || c.lossy && c.gaps == 0 && !testing.Short() {
		c.Errorf("nothing happened: %d delivered, %d moves, %d gaps", c.delivered, c.moves, c.gaps)
	}
}

type held struct {
	at   hub.Position
	data string
}

// chaosClient reads the room, on one node and then another, over connections
// and polls, always from what it has received.
type chaosClient struct {
	*chaos
	name     string
	rng      *rand.Rand
	at       hub.Position
	sinceGap []held
}

func (c *chaosClient) subscription() []hub.Subscription {
	return []hub.Subscription{{Room: "room", Start: hub.Start{Kind: hub.StartAfter, At: hub.RoomPosition{Room: "room", Position: c.at}}}}
}

func (c *chaosClient) run() {
	deadline := time.Now().Add(time.Minute)
	for {
		stopped := false
		select {
		case <-c.stop:
			stopped = true
		default:
		}
		if stopped {
			heads, err := c.hubs[0].Read(context.Background(), hub.ReadRequest{Room: "room", Mode: hub.ReadLatest, Limit: 1})
			if err == nil && heads.Head == c.at || time.Now().After(deadline) {
				return
			}
		}
		h := c.hubs[c.rng.IntN(len(c.hubs))]
		c.mu.Lock()
		c.moves++
		c.mu.Unlock()
		if c.rng.IntN(2) == 0 {
			c.poll(h)
		} else {
			c.connect(h)
		}
	}
}

func (c *chaosClient) poll(h *hub.Hub) {
	for range c.rng.IntN(4) + 1 {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		r, err := h.Poll(ctx, hub.PollRequest{Subscriptions: c.subscription(), Wait: time.Duration(c.rng.IntN(200)) * time.Millisecond, Limit: c.rng.IntN(20) + 1})
		cancel()
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			return
		}
		for _, frame := range r.Frames {
			c.receive(string(frame))
		}
		for _, at := range r.Cursor {
			if at.Position != c.at {
				c.Errorf("%s: the poll's cursor says %v, its messages %v", c.name, at.Position, c.at)
			}
		}
	}
}

func (c *chaosClient) connect(h *hub.Hub) {
	conn := &lineConn{}
	s, err := h.NewSubscriber(hub.SubscriberOptions{Conn: conn, Transport: "chaos"})
	if err != nil {
		c.Error(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	_, err = s.Subscribe(ctx, c.subscription())
	cancel()
	s.Start()
	defer func() {
		s.End(hub.End{})
		<-s.Done()
		c.receive(conn.take())
	}()
	if err != nil {
		time.Sleep(10 * time.Millisecond)
		return
	}
	for range c.rng.IntN(10) + 1 {
		time.Sleep(time.Duration(c.rng.IntN(50)) * time.Millisecond)
		c.receive(conn.take())
	}
}

// receive checks lines and moves the client's place on.
func (c *chaosClient) receive(text string) {
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		place, rest, _ := strings.Cut(rest, " ")
		cursor, err := hub.ParseCursor(place, []string{"room"})
		if err != nil {
			c.Errorf("%s got %q: %v", c.name, line, err)
			return
		}
		p := cursor[0].Position
		c.mu.Lock()
		switch kind {
		case "msg":
			c.delivered++
			if p.Offset != c.at.Offset+1 || !c.at.IsZero() && p.Epoch != c.at.Epoch {
				c.Errorf("%s: after %v came %q", c.name, c.at, line)
			}
			c.sinceGap = append(c.sinceGap, held{p, rest})
		case "gap":
			c.gaps++
			from, reason, _ := strings.Cut(rest, " ")
			if from != c.at.String() || !c.lossy || reason == string(hub.GapEvicted) {
				c.Errorf("%s: at %v came an unjustified %q", c.name, c.at, line)
			}
			c.sinceGap = nil
		}
		c.mu.Unlock()
		c.at = p
	}
}
