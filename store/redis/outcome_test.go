//go:build unix

package redis_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/redis"
)

// TestAnswerLost: a proxy that swallows Redis' answer once. The publish is
// applied once, and its caller hears of it as if nothing had happened.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	for _, hang := range []bool{false, true} {
		for _, kind := range []string{"plain", "keyed", "ephemeral", "batch"} {
			t.Run(fmt.Sprintf("%s/hang=%t", kind, hang), func(t *testing.T) {
				p := startProxy(t, srv.addr())
				s := open(t, redis.Options{URL: p.url(), CommandTimeout: 200 * time.Millisecond, Prefix: fmt.Sprintf("%s-%t", kind, hang)})
				direct := open(t, redis.Options{URL: srv.url(), Prefix: fmt.Sprintf("%s-%t", kind, hang)})
				var w recorder
				stop, err := direct.Watch(t.Context(), "room", &w)
				if err != nil {
					t.Fatal(err)
				}
				defer stop()
				mustPublish(t, s, message("room", "before")) // Redis has the script, so that one call is one command

				p.hang.Store(hang)
				p.swallow.Store(true)
				batch := []hub.Publish{message("room", "x")}
				switch kind {
				case "keyed":
					batch[0] = keyed("room", "k", "x")
				case "ephemeral":
					batch[0].Ephemeral = true
				case "batch":
					batch = append(batch, keyed("room", "k", "y"), message("other", "z"), keyed("room", "k", "y"), keyed("room", "k", "other"))
				}
				results := s.Publish(t.Context(), batch)
				if n := p.swallowed.Load(); n != 1 {
					t.Fatalf("%d answers were swallowed", n)
				}
				if r := results[0]; r.Err != nil || r.Duplicate || !batch[0].Ephemeral && r.Position.Offset != 2 {
					t.Errorf("%+v", r)
				}
				if kind == "batch" {
					if r := results[1]; r.Err != nil || r.Duplicate || r.Position.Offset != 3 {
						t.Errorf("the second: %+v", r)
					}
					if r := results[3]; r.Err != nil || !r.Duplicate || r.Position != results[1].Position {
						t.Errorf("the repeated: %+v", r)
					}
					if !errors.Is(results[4].Err, hub.ErrKeyConflict) {
						t.Errorf("the conflicting: %+v", results[4])
					}
				}
				end := mustPublish(t, s, message("room", "end"))
				eventually(t, "the end is heard", func() bool { return w.heard(end.Position.ID) == 1 }, nil)
				if n := w.heard(batch[0].ID); n != 1 {
					t.Errorf("delivered %d times", n)
				}
				ids := map[string]int{}
				for _, m := range history(t, direct, "room").Messages {
					ids[m.ID]++
				}
				if want := 1; !batch[0].Ephemeral && ids[batch[0].ID] != want {
					t.Errorf("%d times in the history", ids[batch[0].ID])
				}
			})
		}
	}
}

// TestAnswersKeepGettingLost: past its deadline a publish says that its outcome
// is unknown, and repeating it with its key tells it.
func TestAnswersKeepGettingLost(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	p := startProxy(t, srv.addr())
	s := open(t, redis.Options{URL: p.url(), CommandTimeout: 100 * time.Millisecond})
	mustPublish(t, s, message("room", "before"))
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	var swallower sync.WaitGroup
	swallower.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				p.swallow.Store(true)
				time.Sleep(time.Millisecond)
			}
		}
	})
	k := keyed("room", "k", "x")
	r := publish(ctx, s, k)
	close(done)
	swallower.Wait()
	p.swallow.Store(false)
	if !errors.Is(r.Err, hub.ErrOutcomeUnknown) {
		t.Fatalf("%+v", r)
	}
	again := k
	again.ID = hub.NewMessageID()
	eventually(t, "the repeat", func() bool {
		r = publish(t.Context(), s, again)
		return !errors.Is(r.Err, hub.ErrKeyInProgress) // the first may still be on its way
	}, nil)
	if r.Err != nil || !r.Duplicate || r.Position.ID != k.ID || r.Position.Offset != 2 {
		t.Fatalf("%+v", r)
	}
}

// TestKeyInProgress: who comes with a key while its first publish waits for
// Redis is told so, soon.
func TestKeyInProgress(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url(), CommandTimeout: 20 * time.Second})
	mustPublish(t, s, message("room", "before"))
	srv.freeze()
	first := make(chan hub.Result)
	go func() { first <- publish(t.Context(), s, keyed("room", "k", "x")) }()
	eventually(t, "the first is on its way", func() bool { return s.KeyHeld("room", "u", "k") }, nil)
	if r := publish(t.Context(), s, keyed("room", "k", "x")); !errors.Is(r.Err, hub.ErrKeyInProgress) {
		t.Errorf("%+v", r)
	}
	r := s.Publish(t.Context(), []hub.Publish{keyed("room", "k", "other")})[0]
	if !errors.Is(r.Err, hub.ErrKeyInProgress) {
		t.Errorf("%+v", r)
	}
	srv.thaw()
	if r := <-first; r.Err != nil || r.Duplicate {
		t.Errorf("the first: %+v", r)
	}
	if r := publish(t.Context(), s, keyed("room", "k", "x")); !r.Duplicate {
		t.Errorf("afterwards: %+v", r)
	}
}

// TestRefused: what Redis refuses was certainly not applied, and is said to be
// unavailable.
func TestRefused(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url()})
	before := mustPublish(t, s, message("room", "before")).Position
	refusedNow := func(t *testing.T, words string) {
		t.Helper()
		eph := message("room", "e")
		eph.Ephemeral = true
		ephKey := keyed("room", "ek", "e")
		ephKey.Ephemeral = true
		batch := []hub.Publish{message("room", "x"), keyed("room", "k", "x"), message("new", "x"), eph, ephKey}
		for i, r := range s.Publish(t.Context(), batch) {
			if !errors.Is(r.Err, hub.ErrUnavailable) {
				t.Errorf("%s: element %d: %+v", words, i, r)
			}
		}
		if err := s.Ping(t.Context()); !errors.Is(err, hub.ErrUnavailable) {
			t.Errorf("%s: ping says %v", words, err)
		}
	}
	srv.cli("config", "set", "maxmemory", "1")
	refusedNow(t, "OOM")
	srv.cli("config", "set", "maxmemory", "0")
	srv.cli("replicaof", "127.0.0.1", "1")
	refusedNow(t, "READONLY")
	srv.cli("config", "set", "replica-serve-stale-data", "no")
	refusedNow(t, "MASTERDOWN")
	srv.cli("replicaof", "no", "one")
	if r := mustPublish(t, s, keyed("room", "k", "other content")); r.Duplicate || r.Position.Offset != before.Offset+1 || r.Position.Epoch != before.Epoch {
		t.Errorf("afterwards: %+v", r)
	}
	if n := len(history(t, s, "new").Messages); n != 0 {
		t.Errorf("%d messages of refused publishes", n)
	}
	srv.stop()
	refusedNow(t, "nobody there")
	start := time.Now()
	if r := publish(t.Context(), s, message("room", "x")); !errors.Is(r.Err, hub.ErrUnavailable) || time.Since(start) > patience {
		t.Errorf("%+v after %v", r, time.Since(start))
	}
	srv.start()
	mustPublish(t, s, keyed("room", "k", "y"))
}

// TestOneFailsTheOthersDoNot: a key of another type stops its own element only.
func TestOneFailsTheOthersDoNot(t *testing.T) {
	t.Parallel()
	m := startMini(t)
	s := open(t, redis.Options{URL: "redis://" + m.Addr(), RESP2: true})
	m.Lpush(s.HeadKey("bad"), "x")
	m.Set(s.StreamKey("worse"), "x")
	results := s.Publish(t.Context(), []hub.Publish{message("good", "1"), message("bad", "2"), message("worse", "3"), message("good", "4")})
	for i, want := range []uint64{1, 0, 0, 2} {
		r := results[i]
		if r.Position.Offset != want || (want == 0) != errors.Is(r.Err, hub.ErrUnavailable) {
			t.Errorf("element %d: %+v", i, r)
		}
	}
	if m.Exists(s.HeadKey("worse")) {
		t.Error("a publish whose XADD failed left a position")
	}
}

// TestHistoryWithoutPosition: a stream whose position is gone is not continued.
func TestHistoryWithoutPosition(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url()})
	var old hub.Position
	for range 5 {
		old = mustPublish(t, s, message("room", "old")).Position
	}
	srv.cli("del", s.HeadKey("room"))
	next := mustPublish(t, s, message("room", "new")).Position
	if next.Offset != 1 || next.Epoch == old.Epoch {
		t.Errorf("after %v came %v", old, next)
	}
	if page := history(t, s, "room"); len(page.Messages) != 1 {
		t.Errorf("%d messages", len(page.Messages))
	}
	// And a position that is behind its stream begins a new epoch as well,
	// which sorts after the old one though the clock has not moved.
	head := srv.cli("get", s.HeadKey("room"))
	mustPublish(t, s, message("room", "newer"))
	srv.cli("set", s.HeadKey("room"), head, "ex", "100")
	last := mustPublish(t, s, message("room", "newest")).Position
	if last.Offset != 1 || last.Epoch <= next.Epoch {
		t.Errorf("after %v came %v", next, last)
	}
}

// TestSomebodyDeletes: messages that were deleted by hand are a gap.
func TestSomebodyDeletes(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url()})
	var at []hub.Position
	for range 10 {
		at = append(at, mustPublish(t, s, message("room", "x")).Position)
	}
	read := func(from hub.Position) hub.Page {
		t.Helper()
		page, err := s.Read(t.Context(), hub.ReadRequest{Room: "room", From: from, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	srv.cli("xdel", s.StreamKey("room"), "5-0")
	page := read(at[1])
	if page.Gap != nil || len(page.Messages) != 2 || !page.More {
		t.Fatalf("up to the hole: %d messages, gap %+v", len(page.Messages), page.Gap)
	}
	page = read(at[3])
	if page.Gap == nil || page.Gap.Reason != hub.GapEvicted || page.Gap.To.Offset != 5 || len(page.Messages) != 5 {
		t.Fatalf("at the hole: %d messages, gap %+v", len(page.Messages), page.Gap)
	}
	if page = read(page.Gap.To); page.Gap != nil || len(page.Messages) != 5 {
		t.Fatalf("behind the hole: %d messages, gap %+v", len(page.Messages), page.Gap)
	}
	srv.cli("del", s.StreamKey("room"))
	page = read(at[3])
	if page.Gap == nil || page.Gap.Reason != hub.GapEvicted || page.Gap.To != at[9] || len(page.Messages) != 0 || page.More {
		t.Fatalf("without a stream: %+v, gap %+v", page, page.Gap)
	}
	if next := mustPublish(t, s, message("room", "x")).Position; next.Offset != 11 || next.Epoch != at[0].Epoch {
		t.Errorf("it goes on at %v", next)
	}
	if ttl := srv.cli("pttl", s.StreamKey("room")); ttl == "-1" {
		t.Error("the new stream never expires")
	}
	if page = read(at[9]); page.Gap != nil || len(page.Messages) != 1 {
		t.Errorf("%+v, gap %+v", page, page.Gap)
	}
}

// TestNobodyQueuesForARedisThatIsAway: while one call has to find out what
// became of it, the others of its lane are refused at once.
func TestNobodyQueuesForARedisThatIsAway(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url(), Lanes: 1, CommandTimeout: 100 * time.Millisecond, PublishTimeout: time.Minute})
	mustPublish(t, s, message("room", "before"))
	eventually(t, "that one is done", func() bool { return s.Sending() == 0 }, nil)
	srv.freeze()
	before := s.Sent()
	unknown := make(chan hub.Result)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { unknown <- publish(ctx, s, message("room", "x")) }()
	eventually(t, "it is sent", func() bool { return s.Sent() > before }, nil)
	srv.kill()
	for range 10 {
		if r := publish(t.Context(), s, message("room", "y")); !errors.Is(r.Err, hub.ErrUnavailable) {
			t.Fatalf("%+v", r)
		}
	}
	cancel()
	if r := <-unknown; !errors.Is(r.Err, hub.ErrOutcomeUnknown) {
		t.Errorf("%+v", r)
	}
}
