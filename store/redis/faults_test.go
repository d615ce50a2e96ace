//go:build unix

package redis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/redis"
)

// TestKilledConnections: publishers go on while Redis closes their connections
// all the time. Nothing is applied twice, and what was promised is there.
func TestKilledConnections(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url()})
	other := open(t, redis.Options{URL: srv.url(), Prefix: "other"}) // does the killing
	var w recorder
	stop, err := s.Watch(t.Context(), "room", &w)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()

	const publishers, each = 8, 60
	var mu sync.Mutex
	told := map[string]hub.Result{}
	unsure := map[string]bool{}
	var wg sync.WaitGroup
	for i := range publishers {
		wg.Go(func() {
			for j := range each {
				p := message("room", "x")
				if j%2 == 0 {
					p = keyed("room", fmt.Sprint("k", i, "-", j), "x")
				}
				r := publish(t.Context(), s, p)
				mu.Lock()
				switch {
				case r.Err == nil:
					told[p.ID] = r
				case errors.Is(r.Err, hub.ErrOutcomeUnknown):
					unsure[p.ID] = true
				case !errors.Is(r.Err, hub.ErrUnavailable):
					t.Errorf("%+v", r)
				}
				mu.Unlock()
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	kills := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(5 * time.Millisecond):
			other.Do(t.Context(), "CLIENT", "KILL", "SKIPME", "yes")
			kills++
		}
	}
	t.Logf("%d kills, %d applied, %d unknown", kills, len(told), len(unsure))

	times := map[string]int{}
	for i, m := range history(t, s, "room").Messages {
		times[m.ID]++
		if m.Offset != uint64(i+1) {
			t.Fatalf("offset %d at place %d", m.Offset, i)
		}
		if r, ok := told[m.ID]; ok && r.Position != m.Position() {
			t.Errorf("%v was told %v", m.Position(), r.Position)
		}
		if _, ok := told[m.ID]; !ok && !unsure[m.ID] {
			t.Errorf("%v was called not applied", m.Position())
		}
	}
	for id := range told {
		if times[id] != 1 {
			t.Errorf("%s is there %d times", id, times[id])
		}
	}
	for id := range unsure {
		if times[id] > 1 {
			t.Errorf("%s is there %d times", id, times[id])
		}
	}
	w.hears(t, s, "room")
	if w.resynced() == 0 {
		t.Error("no resync, though connections broke")
	}
}

// TestFrozen: a Redis that does not answer makes calls end in bounded time, and
// when it goes on, so does the store.
func TestFrozen(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url(), CommandTimeout: 100 * time.Millisecond, DialTimeout: 200 * time.Millisecond, PublishTimeout: 2 * time.Second})
	var w recorder
	stop, err := s.Watch(t.Context(), "room", &w)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	mustPublish(t, s, message("room", "before"))
	srv.freeze()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	ids := make(chan string, 100)
	for i := range 10 {
		wg.Go(func() {
			p := message(fmt.Sprint("room", i%3), "x")
			c := ctx
			if i > 4 {
				c = t.Context() // PublishTimeout ends it
			}
			if r := publish(c, s, p); !errors.Is(r.Err, hub.ErrOutcomeUnknown) && !errors.Is(r.Err, hub.ErrUnavailable) {
				t.Errorf("publish: %+v", r)
			}
			ids <- p.ID
		})
		wg.Go(func() {
			if _, err := s.Read(ctx, hub.ReadRequest{Room: "room", Limit: 1}); !errors.Is(err, hub.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("read: %v", err)
			}
			if _, err := s.Heads(ctx, []string{"room"}); err == nil {
				t.Error("heads of a frozen server")
			}
		})
		wg.Go(func() {
			if stop, err := s.Watch(ctx, fmt.Sprint("new", i), &recorder{}); err == nil {
				stop()
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("watch: %v", err)
			}
		})
	}
	wg.Wait()
	close(ids)
	if d := time.Since(start); d > patience {
		t.Errorf("it took %v", d)
	}
	// Long enough that the connections are given up: what is published now is
	// known not to be sent.
	eventually(t, "refused", func() bool {
		c, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return errors.Is(publish(c, s, message("room", "y")).Err, hub.ErrUnavailable)
	}, nil)
	srv.thaw()
	mustPublish(t, s, message("room", "after"))
	w.hears(t, s, "room")
	for i := range 3 {
		seen := map[string]bool{}
		for _, m := range history(t, s, fmt.Sprint("room", i)).Messages {
			if seen[m.ID] {
				t.Errorf("%v is there twice", m.Position())
			}
			seen[m.ID] = true
		}
	}
}

// TestPaused: CLIENT PAUSE, which lets some commands through and not others.
func TestPaused(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url(), CommandTimeout: 100 * time.Millisecond, DialTimeout: 300 * time.Millisecond})
	mustPublish(t, s, message("room", "before"))
	for i, mode := range []string{"write", "all"} {
		srv.cli("client", "pause", "1200", mode)
		p := message("room", mode)
		r := publish(t.Context(), s, p)
		if r.Err == nil && r.Position.Offset != uint64(i+2) {
			t.Errorf("%s: %+v", mode, r)
		} else if r.Err != nil && !errors.Is(r.Err, hub.ErrOutcomeUnknown) && !errors.Is(r.Err, hub.ErrUnavailable) {
			t.Errorf("%s: %+v", mode, r)
		}
		srv.cli("client", "unpause")
		if r.Err != nil {
			t.Logf("%s: %v", mode, r.Err)
			if r = mustPublish(t, s, message("room", mode)); r.Position.Offset > uint64(i+3) {
				t.Errorf("%s: %+v", mode, r)
			}
		}
	}
}

// TestStoppedAndStarted: without its data, a restart is a new epoch and a gap.
func TestStoppedAndStarted(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	var w recorder
	s := open(t, redis.Options{URL: srv.url(), PublishTimeout: time.Second})
	stop, err := s.Watch(t.Context(), "room", &w)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var at hub.Position
	for range 3 {
		at = mustPublish(t, s, message("room", "x")).Position
	}
	srv.stop()
	eventually(t, "refused", func() bool {
		return errors.Is(publish(t.Context(), s, message("room", "x")).Err, hub.ErrUnavailable)
	}, nil)
	if err := s.Ping(t.Context()); !errors.Is(err, hub.ErrUnavailable) {
		t.Errorf("ping: %v", err)
	}
	// A watch begun now is made good later.
	var late recorder
	stopLate, err := s.Watch(t.Context(), "late", &late)
	if err != nil {
		t.Fatal(err)
	}
	defer stopLate()

	srv.start()
	// Nobody has published there yet: this Redis may be behind, not empty.
	eventually(t, "behind", func() bool {
		_, err := s.Read(t.Context(), hub.ReadRequest{Room: "room", From: at, Limit: 10})
		return errors.Is(err, hub.ErrBehind)
	}, nil)
	next := mustPublish(t, s, message("room", "y")).Position
	if next.Offset != 1 || next.Epoch <= at.Epoch {
		t.Errorf("after %v came %v", at, next)
	}
	page, err := s.Read(t.Context(), hub.ReadRequest{Room: "room", From: at, Limit: 10})
	if err != nil || page.Gap == nil || page.Gap.Reason != hub.GapLost || len(page.Messages) != 1 {
		t.Errorf("%+v, %v", page, err)
	}
	eventually(t, "resync", func() bool { return w.resynced() > 0 && late.resynced() > 0 }, nil)
	w.hears(t, s, "room")
	late.hears(t, s, "late")
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRestartWithItsData: with a log on disk everything goes on as before.
func TestRestartWithItsData(t *testing.T) {
	t.Parallel()
	srv := startServer(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, redis.Options{URL: srv.url()})
	at := mustPublish(t, s, keyed("room", "k", "x")).Position
	srv.kill()
	srv.start()
	if r := mustPublish(t, s, keyed("room", "k", "x")); !r.Duplicate || r.Position != at {
		t.Errorf("%+v", r)
	}
	if r := mustPublish(t, s, message("room", "y")); r.Position.Offset != 2 || r.Position.Epoch != at.Epoch {
		t.Errorf("%+v", r)
	}
}

// TestRestartWithOlderData: what was lost is told as a gap, and what has taken
// its place as a fork.
func TestRestartWithOlderData(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url()})
	var at []hub.Position
	add := func(n int) {
		for range n {
			at = append(at, mustPublish(t, s, message("room", "x")).Position)
		}
	}
	add(3)
	srv.cli("save")
	add(3)
	srv.kill()
	srv.start()
	read := func(from hub.Position) hub.Page {
		t.Helper()
		var page hub.Page
		var err error
		eventually(t, "read", func() bool {
			page, err = s.Read(t.Context(), hub.ReadRequest{Room: "room", From: from, Limit: 10})
			return err == nil
		}, func() any { return err })
		return page
	}
	if page := read(at[5]); page.Gap == nil || page.Gap.Reason != hub.GapLost || page.Gap.To != at[2] {
		t.Errorf("past the end: gap %+v", page.Gap)
	}
	first := mustPublish(t, s, message("room", "y")).Position
	if first.Epoch != at[0].Epoch || first.Offset != 4 {
		t.Fatalf("it goes on at %v", first)
	}
	if page := read(at[3]); page.Gap == nil || page.Gap.Reason != hub.GapFork || page.Gap.To != first {
		t.Errorf("on the other branch: gap %+v", page.Gap)
	}
	if page := read(at[5]); page.Gap == nil || page.Gap.Reason != hub.GapLost || page.Gap.To != first {
		t.Errorf("past the end of the other branch: gap %+v", page.Gap)
	}
	if page := read(at[2]); page.Gap != nil || len(page.Messages) != 1 {
		t.Errorf("%+v", page)
	}
}

// TestUnsubscribed: a node hears only what somebody watches.
func TestUnsubscribed(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url()})
	channels := func() string { return srv.cli("pubsub", "channels", "*:watch") }
	if c := channels(); c != "" {
		t.Errorf("before any watch: %s", c)
	}
	var stops []func()
	for range 3 {
		stop, err := s.Watch(t.Context(), "room", &recorder{})
		if err != nil {
			t.Fatal(err)
		}
		stops = append(stops, stop)
	}
	if c := channels(); c != s.Channel("room") {
		t.Errorf("channels: %s", c)
	}
	stops[0]()
	stops[1]()
	var w recorder
	stop, err := s.Watch(t.Context(), "room", &w)
	if err != nil {
		t.Fatal(err)
	}
	stops[2]()
	w.hears(t, s, "room")
	stop()
	eventually(t, "unsubscribed", func() bool { return channels() == "" }, func() any { return channels() })
	stop, err = s.Watch(t.Context(), "room", &w)
	if err != nil {
		t.Fatal(err)
	}
	p := mustPublish(t, s, message("room", "again"))
	eventually(t, "heard again", func() bool { return w.heard(p.Position.ID) == 1 }, nil)
	stop()
}

// TestOpenFails: soon, and saying why, without the password.
func TestOpenFails(t *testing.T) {
	t.Parallel()
	srv := startServer(t, "--requirepass", "right")
	silent := startProxy(t, srv.addr())
	silent.hang.Store(true)
	const secret = "hunter2"
	for name, c := range map[string]struct{ url, want string }{
		"nobody":         {fmt.Sprintf("redis://u:%s@127.0.0.1:%d", secret, freePort(t)), "refused"},
		"wrong password": {fmt.Sprintf("redis://:%s@%s", secret, srv.addr()), "WRONGPASS"},
		"no password":    {srv.url(), "NOAUTH"},
		"no sentinel":    {fmt.Sprintf("redis+sentinel://:%s@127.0.0.1:%d/main", secret, freePort(t)), ""},
		"no cluster":     {fmt.Sprintf("redis+cluster://:%s@127.0.0.1:%d", secret, freePort(t)), ""},
		"frozen":         {fmt.Sprintf("redis://:right@%s", srv.addr()), ""},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			if name == "frozen" {
				srv.freeze()
				defer srv.thaw()
			}
			start := time.Now()
			s, err := redis.Open(context.Background(), redis.Options{URL: c.url})
			if err == nil {
				s.Close()
				t.Fatal("it opened")
			}
			t.Log(err)
			if strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; wanted %q in it", err, c.want)
			}
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
}

// TestSocket: a Unix socket.
func TestSocket(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "culvert") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "redis.sock")
	startServer(t, "--unixsocket", path)
	s := open(t, redis.Options{URL: "unix://" + path + "?db=3"})
	mustPublish(t, s, message("room", "x"))
}

// TestCloseWhileFrozen: closing waits for no answer.
func TestCloseWhileFrozen(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url(), CommandTimeout: time.Minute, DialTimeout: time.Minute})
	stop, err := s.Watch(t.Context(), "room", &recorder{})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	mustPublish(t, s, message("room", "before"))
	eventually(t, "that one is done", func() bool { return s.Sending() == 0 }, nil)
	srv.freeze()
	before := s.Sent()
	var calls sync.WaitGroup
	calls.Go(func() {
		if r := publish(t.Context(), s, message("room", "x")); !errors.Is(r.Err, hub.ErrOutcomeUnknown) {
			t.Errorf("publish: %+v", r)
		}
	})
	eventually(t, "it is sent", func() bool { return s.Sent() > before }, nil)
	calls.Go(func() {
		if _, err := s.Read(t.Context(), hub.ReadRequest{Room: "room", Limit: 1}); !errors.Is(err, hub.ErrClosed) {
			t.Errorf("read: %v", err)
		}
	})
	calls.Go(func() {
		if _, err := s.Watch(t.Context(), "another", &recorder{}); !errors.Is(err, hub.ErrClosed) {
			t.Errorf("watch: %v", err)
		}
	})
	start := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	calls.Wait()
	t.Logf("closed after %v", time.Since(start))
	if d := time.Since(start); d > patience {
		t.Errorf("it took %v", d)
	}
}
