//go:build unix

package redis_test

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/culvertd/culvert/store/redis"
	"github.com/culvertd/culvert/store/storetest"
)

// lawOptions translates the bounds of a law, or skips it.
func lawOptions(t *testing.T, o storetest.Options, ample time.Duration) redis.Options {
	t.Helper()
	switch {
	case o.MaxKeys > 0:
		t.Skip("Redis' own memory bounds the number of keys; past it every publish is refused")
	case o.MaxRooms > 0:
		t.Skip("Redis' own memory bounds the number of rooms")
	case o.TotalBytes > 0:
		t.Skip("Redis' own memory bounds all histories together; past it every publish is refused")
	}
	r := redis.Options{
		HistoryCount: o.HistoryMessages, HistoryBytes: o.HistoryBytes,
		HistoryAge: o.HistoryAge, HeadTTL: o.RoomTTL,
	}
	if r.HistoryAge == 0 {
		r.HistoryAge = ample
		if r.HeadTTL > 0 {
			r.HistoryAge = min(ample, r.HeadTTL)
		}
	}
	if r.HeadTTL == 0 {
		r.HeadTTL = max(ample, r.HistoryAge)
	}
	// A law waits for no failover: what this Redis does not know is lost.
	r.SetPatience(time.Nanosecond)
	return r
}

// miniBackend runs on miniredis, whose clock the laws move.
func miniBackend() storetest.Backend {
	openOn := func(t *testing.T, m *miniServer, o storetest.Options) storetest.Instance {
		r := lawOptions(t, o, 300*24*time.Hour)
		r.URL, r.RESP2 = "redis://"+m.Addr(), true
		s, err := redis.Open(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		return storetest.Instance{Store: s, Advance: m.advance}
	}
	return storetest.Backend{
		Unit:       time.Minute,
		Goroutines: []string{"rueidis"},
		Open: func(t *testing.T, o storetest.Options) storetest.Instance {
			return openOn(t, startMini(t), o)
		},
		OpenTwo: func(t *testing.T, o storetest.Options) (a, b storetest.Instance) {
			m := startMini(t)
			return openOn(t, m, o), openOn(t, m, o)
		},
	}
}

// miniServer is a miniredis whose clock moves by hand.
type miniServer struct {
	*miniredis.Miniredis
	now time.Time
}

func startMini(t testing.TB) *miniServer {
	t.Helper()
	m := &miniServer{miniredis.NewMiniRedis(), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	m.SetTime(m.now)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// advance moves both of its clocks, that of TIME and that of expiry.
func (m *miniServer) advance(d time.Duration) {
	m.now = m.now.Add(d)
	m.SetTime(m.now)
	m.FastForward(d)
}

func TestLawsMini(t *testing.T)        { storetest.Run(t, miniBackend()) }
func TestTwoNodeLawsMini(t *testing.T) { storetest.RunTwoNodes(t, miniBackend()) }

// serverBackend runs on a real server, in real time. One server serves all
// laws, each in its own database.
func serverBackend(t *testing.T) storetest.Backend {
	srv := startServer(t)
	openOn := func(t *testing.T, o storetest.Options) storetest.Instance {
		r := lawOptions(t, o, time.Hour)
		r.URL = srv.url()
		s, err := redis.Open(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		return storetest.Instance{Store: s, Advance: time.Sleep}
	}
	return storetest.Backend{
		Unit:       150 * time.Millisecond,
		RealTime:   true,
		Goroutines: []string{"rueidis"},
		Open: func(t *testing.T, o storetest.Options) storetest.Instance {
			srv.cli("flushall")
			return openOn(t, o)
		},
		OpenTwo: func(t *testing.T, o storetest.Options) (a, b storetest.Instance) {
			srv.cli("flushall")
			return openOn(t, o), openOn(t, o)
		},
	}
}

func TestLawsServer(t *testing.T)        { storetest.Run(t, serverBackend(t)) }
func TestTwoNodeLawsServer(t *testing.T) { storetest.RunTwoNodes(t, serverBackend(t)) }
