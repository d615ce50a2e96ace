package hub_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
)

var simSeed = flag.Uint64("sim.seed", 0, "seed of the simulation to repeat; 0 runs several")

// placeFraming writes an event as "room kind position data", so that a client
// can go on from any line.
type placeFraming struct{ textFraming }

func (placeFraming) Append(dst []byte, ev *hub.Event) []byte {
	switch ev.Kind {
	case hub.EventMessage:
		if ev.Message.Ephemeral() {
			return dst
		}
		return fmt.Appendf(dst, "%s msg %s %s\n", ev.Room, ev.At, ev.Message.Data)
	case hub.EventGap:
		return fmt.Appendf(dst, "%s gap %s %s %s\n", ev.Room, ev.At, ev.Gap.From, ev.Gap.Reason)
	}
	return dst
}

// TestSimulation has clients come and go, freeze, change rooms and ways of
// reading, while publishers repeat what they do not know the outcome of and
// the store fails, delays, loses and repeats. Nobody may miss, repeat or
// reorder a message without a gap that says so.
func TestSimulation(t *testing.T) {
	seeds := []uint64{1, 2, 3, 4, 5, 6, 7, 8}
	if testing.Short() {
		seeds = seeds[:2]
	}
	if *simSeed != 0 {
		seeds = []uint64{*simSeed}
	}
	for _, seed := range seeds {
		for _, evicts := range []bool{false, true} {
			t.Run(fmt.Sprintf("seed=%d/evicts=%v", seed, evicts), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { simulate(t, seed, evicts) })
			})
		}
	}
}

type simulation struct {
	t      *testing.T
	h      *hub.Hub
	rooms  []string
	evicts bool

	mu        sync.Mutex
	published map[string]string // data → room, for every publish that may have happened
	acked     map[string]hub.Position
	gaps      int
	resumes   int
	delivered int
}

func simulate(t *testing.T, seed uint64, evicts bool) {
	mo := memory.Options{}
	if evicts {
		mo.HistoryMessages = 20
	}
	mem, err := memory.New(mo)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	store := newShakyStore(mem, seed)
	h, err := hub.New(store, hub.Options{
		Framings: []hub.Framing{placeFraming{}}, LogMessages: 15, WriteBytes: 400, Linger: 3 * time.Second,
		CheckInterval: 2 * time.Second, WriteTimeout: 20 * time.Second, StoreTimeout: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	s := &simulation{
		t: t, h: h, evicts: evicts, rooms: []string{"a", "b", "c"},
		published: make(map[string]string), acked: make(map[string]hub.Position),
	}
	var publishers, clients sync.WaitGroup
	stop := make(chan struct{})
	for i := range 4 {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		publishers.Go(func() { s.publish(rng, i) })
	}
	all := make([]*simClient, 12)
	for i := range all {
		rng := rand.New(rand.NewPCG(seed, uint64(100+i)))
		all[i] = &simClient{sim: s, rng: rng, name: fmt.Sprint("client", i), at: make(map[string]hub.Position)}
		clients.Go(func() { all[i].run(stop) })
	}
	publishers.Wait()
	store.calm()
	time.Sleep(10 * time.Second)
	close(stop)
	clients.Wait()
	s.judge(all)
	if s.delivered == 0 || s.resumes == 0 || (evicts && s.gaps == 0) {
		t.Errorf("the simulation did nothing: %d delivered, %d resumes, %d gaps", s.delivered, s.resumes, s.gaps)
	}
	t.Logf("%d published, %d delivered, %d resumes, %d gaps, %+v", len(s.published), s.delivered, s.resumes, s.gaps, h.Stats())
}

func (s *simulation) publish(rng *rand.Rand, who int) {
	for i := range 400 {
		room := s.rooms[rng.IntN(len(s.rooms))]
		data := fmt.Sprintf(`"%d-%d"`, who, i)
		s.mu.Lock()
		s.published[data] = room
		s.mu.Unlock()
		for {
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			res := s.h.Publish(ctx, []hub.Publish{{
				Room: room, Data: []byte(data), Key: fmt.Sprint(who, "-", i), Fingerprint: hub.FingerprintOf([]byte(data), false),
			}})[0]
			cancel()
			if res.Err == nil {
				s.mu.Lock()
				s.acked[data] = res.Position
				s.mu.Unlock()
				break
			}
			if !errors.Is(res.Err, hub.ErrUnavailable) && !errors.Is(res.Err, hub.ErrOutcomeUnknown) {
				s.t.Errorf("publish: %v", res.Err)
				return
			}
			time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
		}
		if rng.IntN(4) == 0 {
			time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		}
	}
}

// judge compares what was acknowledged, what the store has, and where the
// clients stand.
func (s *simulation) judge(all []*simClient) {
	for _, room := range s.rooms {
		page, err := s.h.Read(context.Background(), hub.ReadRequest{Room: room, Mode: hub.ReadOldest, Limit: 10_000})
		if err != nil {
			s.t.Fatal(err)
		}
		seen := make(map[string]bool)
		for _, m := range page.Messages {
			if seen[string(m.Data)] {
				s.t.Errorf("%s is in the history twice", m.Data)
			}
			seen[string(m.Data)] = true
			if p, ok := s.acked[string(m.Data)]; ok && p != m.Position() {
				s.t.Errorf("%s was acknowledged at %v and is at %v", m.Data, p, m.Position())
			}
		}
		for _, c := range all {
			if at, ok := c.at[room]; ok && at != page.Head {
				s.t.Errorf("%s stands in %s at %v, the room at %v", c.name, room, at, page.Head)
			}
		}
	}
}

// simClient reads some rooms, in turn over connections and polls, always going
// on from what it has received.
type simClient struct {
	seat hub.Seat
	sim  *simulation
	rng  *rand.Rand
	name string
	at   map[string]hub.Position
}

func (c *simClient) subs() (subs []hub.Subscription) {
	if len(c.at) == 0 {
		c.at[c.sim.rooms[c.rng.IntN(len(c.sim.rooms))]] = hub.Position{}
	}
	for room, p := range c.at {
		subs = append(subs, after(room, p))
	}
	return subs
}

func (c *simClient) run(stop <-chan struct{}) {
	for {
		c.sim.mu.Lock()
		c.sim.resumes++
		c.sim.mu.Unlock()
		stopped := false
		select {
		case <-stop:
			stopped = true
		default:
		}
		if c.rng.IntN(3) == 0 && !stopped {
			c.poll()
			continue
		}
		c.connect(stopped)
		if stopped {
			return
		}
	}
}

func (c *simClient) poll() {
	for range c.rng.IntN(5) + 1 {
		req := poll(time.Duration(c.rng.IntN(2000))*time.Millisecond, c.subs()...)
		req.Limit = c.rng.IntN(20) + 1
		res, err := c.ask(req)
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		c.take(joinFrames(res))
		for _, at := range res.Cursor {
			if p, ok := c.at[at.Room]; ok && p != at.Position {
				c.sim.t.Errorf("%s: after the poll the cursor says %v, the messages %v", c.name, at.Position, p)
			}
			c.at[at.Room] = at.Position
		}
	}
}

// ask polls with a goroutine, or parked, or parked by one who must not wait.
func (c *simClient) ask(req hub.PollRequest) (hub.PollResult, error) {
	way := c.rng.IntN(3)
	if way == 0 {
		return c.sim.h.Poll(context.Background(), req)
	}
	w := make(waiter, 2)
	res, s, done := hub.PollResult{}, (*hub.Subscriber)(nil), false
	if way == 1 {
		res, s, done = c.sim.h.PollAtOnce(&c.seat, &req, w)
	}
	if !done {
		var err error
		if res, s, err = c.sim.h.PollOrPark(context.Background(), req, func() (hub.Waiter, *hub.Seat, error) { return w, &c.seat, nil }); err != nil {
			return res, err
		}
	}
	if s == nil {
		return res, nil
	}
	a := <-w
	return a.res, a.err
}

// connect reads over one connection for a while; the last one of a client reads
// until everything is quiet.
func (c *simClient) connect(last bool) {
	conn := newBufConn(c.rng.IntN(2) == 0, []int{0, 0, 100, 1000}[c.rng.IntN(4)])
	s, err := c.sim.h.NewSubscriber(hub.SubscriberOptions{Conn: conn, Transport: "sim", Client: c.name})
	if err != nil {
		c.sim.t.Error(err)
		return
	}
	defer func() {
		s.End(hub.End{})
		<-s.Done()
		conn.check(c.sim.t)
	}()
	cur, err := s.Subscribe(context.Background(), c.subs())
	s.Start()
	if err != nil {
		time.Sleep(50 * time.Millisecond)
		return
	}
	for _, at := range cur {
		c.at[at.Room] = at.Position
	}
	rest := ""
	quiet := 0
	for rounds := c.rng.IntN(40) + 5; rounds > 0 || (last && quiet < 50); rounds-- {
		switch n := c.rng.IntN(20); {
		case last:
		case n == 0:
			conn.freeze(true)
			time.Sleep(time.Duration(c.rng.IntN(3000)) * time.Millisecond)
			conn.freeze(false)
		case n == 1 && len(c.at) < len(c.sim.rooms):
			c.join(s)
		case n == 2 && len(c.at) > 1:
			c.leave(s, conn, &rest)
		}
		time.Sleep(time.Duration(c.rng.IntN(100)) * time.Millisecond)
		text := conn.read(0)
		if quiet++; text != "" {
			quiet = 0
		}
		rest = c.takeWhole(rest + text)
	}
	// What is cut off in the middle of a line was not received.
}

func (c *simClient) join(s *hub.Subscriber) {
	for _, room := range c.sim.rooms {
		if _, ok := c.at[room]; !ok {
			if cur, err := s.Subscribe(context.Background(), []hub.Subscription{after(room, hub.Position{})}); err == nil {
				c.at[room] = cur[0].Position
			}
			return
		}
	}
}

func (c *simClient) leave(s *hub.Subscriber, conn *bufConn, rest *string) {
	for room := range c.at {
		cur, err := s.Unsubscribe([]string{room})
		if err != nil {
			c.sim.t.Errorf("%s leaves %s: %v", c.name, room, err)
			return
		}
		// What was written before it left still comes; the place it was told
		// is after all that.
		for {
			time.Sleep(time.Millisecond)
			text := conn.read(0)
			if text == "" {
				break
			}
			*rest = c.takeWhole(*rest + text)
		}
		if *rest == "" && c.at[room] != cur[0].Position {
			c.sim.t.Errorf("%s left %s at %v and had read up to %v", c.name, room, cur[0].Position, c.at[room])
		}
		delete(c.at, room)
		return
	}
}

func (c *simClient) takeWhole(text string) (rest string) {
	i := strings.LastIndexByte(text, '\n')
	c.take(text[:i+1])
	return text[i+1:]
}

// take checks lines and moves the client's places on.
func (c *simClient) take(text string) {
	t := c.sim.t
	for _, l := range lines(text) {
		f := strings.SplitN(l, " ", 4)
		if len(f) < 4 {
			continue // a heartbeat
		}
		at, ok := c.at[f[0]]
		cur, err := hub.ParseCursor(f[2], f[:1])
		if !ok || err != nil {
			t.Errorf("%s got %q, of a room it does not read, or %v", c.name, l, err)
			continue
		}
		p := cur[0].Position
		switch f[1] {
		case "msg":
			if p.Offset != at.Offset+1 || (!at.IsZero() && p.Epoch != at.Epoch) {
				t.Errorf("%s: after %v came %q", c.name, at, l)
			}
			c.sim.mu.Lock()
			c.sim.delivered++
			if c.sim.published[f[3]] != f[0] {
				t.Errorf("%s got %q, which nobody published there", c.name, l)
			}
			if want, ok := c.sim.acked[f[3]]; ok && want != p {
				t.Errorf("%s got %q, which was acknowledged at %v", c.name, l, want)
			}
			c.sim.mu.Unlock()
		case "gap":
			c.sim.mu.Lock()
			c.sim.gaps++
			c.sim.mu.Unlock()
			if !c.sim.evicts || !strings.HasPrefix(f[3], at.String()+" evicted") || p.Offset <= at.Offset {
				t.Errorf("%s: at %v came an unjustified %q", c.name, at, l)
			}
		}
		c.at[f[0]] = p
	}
}
