package fault_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/store/storetest/fault"
)

// lineFraming writes events as lines of positions.
type lineFraming struct{}

func (lineFraming) Append(dst []byte, ev *hub.Event) []byte {
	switch ev.Kind {
	case hub.EventMessage:
		return fmt.Appendf(dst, "msg %s %s\n", ev.Message.Position(), ev.Message.Data)
	case hub.EventGap:
		return fmt.Appendf(dst, "gap %s %s %s\n", ev.Gap.From, ev.Gap.To, ev.Gap.Reason)
	}
	return dst
}
func (lineFraming) CursorInFrame() bool                                { return false }
func (lineFraming) AppendWithCursor(dst, wire, _ []byte) []byte        { return append(dst, wire...) }
func (lineFraming) AppendHeartbeat(d []byte, _ int64, _ []byte) []byte { return d }
func (lineFraming) AppendEnd(dst []byte, _ hub.End, _ []byte) []byte   { return dst }

// lineConn takes everything at once.
type lineConn struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (c *lineConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.Write(p)
}
func (c *lineConn) TryWrite(p []byte) (int, error)     { return c.Write(p) }
func (c *lineConn) SetWriteDeadline(t time.Time) error { return nil }
func (c *lineConn) Close() error                       { return nil }

// take returns the lines so far, and forgets them.
func (c *lineConn) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := strings.TrimSuffix(c.buf.String(), "\n")
	c.buf.Reset()
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

func position(t *testing.T, text string) hub.Position {
	t.Helper()
	c, err := hub.ParseCursor(text, []string{"room"})
	if err != nil {
		t.Fatal(err)
	}
	return c[0].Position
}

// A hub over a store that fails over, again and again, to a copy that lacks the
// newest messages. Other messages get the same epochs and offsets; every step that
// a reader takes from one message to the next must be one that the history
// of one store took, or have a gap that says otherwise.
func TestHubToldOfEveryFork(t *testing.T) {
	total := map[hub.GapReason]int{}
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { failovers(t, seed, total) })
		})
	}
	if total[hub.GapFork] == 0 || total[hub.GapLost] == 0 {
		t.Errorf("gaps: %v", total)
	}
}

func failovers(t *testing.T, seed uint64, total map[hub.GapReason]int) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	ctx := context.Background()
	current := newMemory(t, memory.Options{HistoryMessages: 100_000})
	rates := fault.Rates{Read: fault.OpRates{Refuse: 0.2, Delay: 0.5, MaxDelay: 20 * time.Millisecond}}
	s := fault.Wrap(current, fault.Options{Seed: seed, Rates: rates})
	h, err := hub.New(s, hub.Options{Framings: []hub.Framing{lineFraming{}}, LogMessages: 50, CheckInterval: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}

	defer func() {
		h.Close()
		s.Close()
	}()

	// follows holds each step that a history took.
	follows := map[[2]hub.Position]bool{}
	learn := func(m *memory.Store) (head hub.Position) {
		page, err := m.Read(ctx, hub.ReadRequest{Room: "room", Limit: 100_000})
		if err != nil {
			t.Fatal(err)
		}
		at := hub.Position{}
		for _, m := range page.Messages {
			follows[[2]hub.Position{at, m.Position()}] = true
			at = m.Position()
		}
		return page.Head
	}

	stop := make(chan struct{})
	var publishers sync.WaitGroup
	for p := range 3 {
		publishers.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(1+p)))
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(rnd.IntN(4000)) * time.Microsecond):
				}
				h.Publish(ctx, []hub.Publish{{Room: "room", Data: []byte(strconv.Itoa(p*1_000_000 + i))}})
			}
		})
	}

	// Readers judge what they get once all is known.
	type leg struct {
		from  hub.Position
		lines []string
	}
	legs := make([][]leg, 4)
	var readers sync.WaitGroup
	for i := range legs {
		readers.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(100+i)))
			var at hub.Position
			for done := false; !done; {
				c := &lineConn{}
				sub, err := h.NewSubscriber(hub.SubscriberOptions{Conn: c, Transport: "test"})
				if err != nil {
					t.Error(err)
					return
				}
				from := hub.RoomPosition{Room: "room", Position: at}
				if _, err := sub.Subscribe(ctx, []hub.Subscription{{Room: "room", Start: hub.Start{Kind: hub.StartAfter, At: from}}}); err != nil {
					sub.End(hub.End{})
					time.Sleep(10 * time.Millisecond)
					continue
				}
				sub.Start()
				select {
				case <-stop:
					time.Sleep(20 * time.Second) // all is calm: it gets the rest
					done = true
				case <-time.After(time.Duration(rnd.IntN(300)) * time.Millisecond):
				}
				sub.End(hub.End{})
				<-sub.Done()
				l := leg{from: at, lines: c.take()}
				legs[i] = append(legs[i], l)
				if n := len(l.lines); n > 0 {
					f := strings.Fields(l.lines[n-1])
					at = position(t, f[map[string]int{"msg": 1, "gap": 2}[f[0]]])
				}
			}
		})
	}

	for range 12 {
		time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
		lagging, err := current.Clone()
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rnd.IntN(30)) * time.Millisecond)
		if _, err := s.Swap(ctx, lagging); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // no publish is under way in the old one
		learn(current)
		current.Close()
		current = lagging
	}
	time.Sleep(100 * time.Millisecond)
	s.SetRates(fault.Rates{})
	close(stop)
	publishers.Wait()
	readers.Wait()
	head := learn(current)

	for i, legs := range legs {
		at := hub.Position{}
		for _, l := range legs {
			if l.from != at {
				t.Fatalf("reader %d: a leg begins at %v, the last ended at %v", i, l.from, at)
			}
			for _, line := range l.lines {
				switch f := strings.Fields(line); f[0] {
				case "msg":
					p := position(t, f[1])
					if !follows[[2]hub.Position{at, p}] {
						t.Fatalf("reader %d: %v came after %v without a gap", i, p, at)
					}
					at = p
				case "gap":
					if from := position(t, f[1]); from != at {
						t.Errorf("reader %d: a gap from %v, it stood at %v", i, from, at)
					}
					at = position(t, f[2])
					total[hub.GapReason(f[3])]++
				}
			}
		}
		if at != head {
			t.Errorf("reader %d ended at %v, the head is %v", i, at, head)
		}
	}
}
