//go:build unix

package redis_test

import (
	_ "embed"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/redis"
)

// The publish script of a version that renewed keys with every message, knew no
// sums, and whose positions had eight fields. Nodes of that version and of this
// one share databases while they are replaced.
//
//go:embed testdata/publish-before.lua
var scriptBefore string

var (
	versionsSeed = flag.Uint64("versions.seed", 0, "seed of TestVersionsTakeTurns; 0: any")
	// There time is real, so that on a busy machine a stream may expire between a
	// publish and the look at it.
	versionsServer = flag.Bool("versions.server", false, "TestVersionsTakeTurns runs on a redis-server, too, which wants a quiet machine")
	versionsSteps  = flag.Int("versions.steps", 100, "how many publishes TestVersionsTakeTurns makes in each of its cases")
)

// TestVersionsTakeTurns: nodes of this version and of the one before may take
// turns on the same rooms, whatever happens to their keys meanwhile.
func TestVersionsTakeTurns(t *testing.T) {
	t.Parallel()
	names := []string{"mini"}
	var srv *server
	if *versionsServer {
		names, srv = append(names, "server"), startServer(t)
	}
	for i, o := range []redis.Options{
		{HistoryCount: 1, HistoryBytes: 1 << 20},
		{HistoryCount: 20, HistoryBytes: 1 << 20},
		{HistoryCount: 560, HistoryBytes: 1 << 20},
		{HistoryCount: 560, HistoryBytes: 9_000},
		{HistoryCount: 40, HistoryBytes: 400},
	} {
		for _, name := range names {
			t.Run(fmt.Sprintf("%s, %d messages, %d bytes", name, o.HistoryCount, o.HistoryBytes), func(t *testing.T) {
				seed := *versionsSeed + uint64(i)
				if *versionsSeed == 0 {
					seed = rand.Uint64()
				}
				t.Logf("-versions.seed=%d", seed-uint64(i))
				m := &model{
					t: t, rand: rand.New(rand.NewPCG(seed, 0)), slack: o.HistoryCount / 16,
					rooms: map[string]*modelRoom{"a": {}, "b": {}, "c": {}}, keys: map[string]*modelKey{},
				}
				if o.HistoryCount < 512 {
					m.slack = 0
				}
				m.o = o
				m.o.Prefix = fmt.Sprintf("p%d", i)
				var advance func(time.Duration)
				if name == "mini" {
					mini := startMini(t)
					m.o.URL, m.o.RESP2 = "redis://"+mini.Addr(), true
					m.o.HistoryAge, m.o.HeadTTL = 16*time.Hour, 16*time.Hour+time.Duration(i)*time.Hour
					m.ttl = mini.TTL
					advance = mini.advance
					m.clock = func() int64 { return mini.now.UnixMilli() }
				} else {
					m.o.URL = srv.url()
					m.o.HistoryAge, m.o.HeadTTL = 800*time.Millisecond, 2*time.Second
					m.ttl = func(key string) time.Duration {
						return time.Duration(m.do("PTTL", key).(int64)) * time.Millisecond
					}
					advance = func(d time.Duration) { time.Sleep(d) }
					m.clock = func() int64 {
						now := m.do("TIME").([]any)
						seconds, _ := strconv.ParseInt(now[0].(string), 10, 64)
						micros, _ := strconv.ParseInt(now[1].(string), 10, 64)
						return seconds*1000 + micros/1000
					}
				}
				m.s = open(t, m.o)
				m.run(*versionsSteps, advance, name == "server")
			})
		}
	}
}

func (m *model) run(steps int, advance func(time.Duration), real bool) {
	names := []string{"a", "b", "c"}
	old := false
	for range steps {
		name := names[m.rand.IntN(3)]
		room := m.rooms[name]
		deleted := ""
		switch n := m.rand.IntN(100); {
		case n < 20:
			old = !old
		case n < 35: // mostly a little, seldom all
			d := m.o.HistoryAge / 64 * time.Duration(1+m.rand.IntN(4))
			if m.rand.IntN(6) == 0 && !(real && m.rand.IntN(4) > 0) {
				d = m.o.HistoryAge/2 + time.Duration(m.rand.Int64N(int64(m.o.HistoryAge)*3/4))
			}
			m.steps = append(m.steps, fmt.Sprintf("advance %v", d))
			advance(d)
		case n < 37:
			m.steps = append(m.steps, "delete position of "+name)
			m.do("DEL", m.s.HeadKey(name))
			room.wanted, room.previous = true, room.head.Epoch
			continue
		case n < 40 && !old && room.head.Offset > 0:
			m.steps = append(m.steps, "delete stream of "+name)
			m.do("DEL", m.s.StreamKey(name))
			room.cut, deleted = true, name
		}
		batch := make([]hub.Publish, 1+m.rand.IntN(4))
		if m.rand.IntN(4) == 0 {
			batch = make([]hub.Publish, 1+m.rand.IntN(120))
		}
		touched := map[string]bool{}
		for i := range batch {
			room := names[m.rand.IntN(3)]
			data := strings.Repeat("x", m.rand.IntN(200))
			p := message(room, data)
			if m.rand.IntN(3) == 0 {
				p = keyed(room, strconv.Itoa(m.rand.IntN(1000)), []string{"x", "y"}[m.rand.IntN(2)])
				p.KeyTTL = max(time.Millisecond, time.Duration(m.rand.Int64N(int64(2*m.o.HistoryAge))).Truncate(time.Millisecond))
				if i > 0 && batch[i-1].Key != "" && m.rand.IntN(4) == 0 { // twice in a batch
					p.Room, p.Key = batch[i-1].Room, batch[i-1].Key
				}
			}
			p.Ephemeral = m.rand.IntN(8) == 0
			batch[i] = p
		}
		if deleted != "" { // the version before does not see it
			batch[0] = message(deleted, "x")
		}
		m.steps = append(m.steps, fmt.Sprintf("publish %d, before=%v", len(batch), old))
		// A position that has expired, or was deleted, means a new epoch.
		for name, room := range m.rooms {
			if room.head.Offset > 0 && m.do("EXISTS", m.s.HeadKey(name)) == int64(0) && !room.wanted {
				room.wanted, room.previous = true, room.head.Epoch
			}
		}
		now := m.clock()
		var results []hub.Result
		if old {
			results = m.before(batch)
		} else {
			results = m.s.Publish(m.t.Context(), batch)
		}
		after := m.clock()
		m.check(batch, results, now, after)
		for i, p := range batch {
			if !p.Ephemeral && results[i].Err == nil && !results[i].Duplicate {
				touched[p.Room] = true
			}
		}
		for name := range touched {
			m.look(name, old, now, after)
		}
	}
}
