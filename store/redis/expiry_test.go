//go:build unix

package redis_test

import (
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/redis"
)

// expiring is a store with a history of 16 hours, so that its keys are renewed
// every hour, on a miniredis.
func expiring(t *testing.T) (*miniServer, *redis.Store) {
	m := startMini(t)
	return m, open(t, redis.Options{URL: "redis://" + m.Addr(), RESP2: true, HistoryAge: 16 * time.Hour, HeadTTL: 48 * time.Hour})
}

// outlives fails where the room's keys would expire before they should.
func outlives(t *testing.T, m *miniServer, s *redis.Store, when string) {
	t.Helper()
	for key, least := range map[string]time.Duration{s.StreamKey("room"): 16 * time.Hour, s.HeadKey("room"): 48 * time.Hour} {
		if ttl := m.TTL(key); ttl < least || ttl > least+time.Hour {
			t.Errorf("%s: %s lives %v", when, key, ttl)
		}
	}
}

// TestRenewal: whoever publishes leaves keys that live long enough, though most
// publishes do not renew them.
func TestRenewal(t *testing.T) {
	t.Parallel()
	m, s := expiring(t)
	mustPublish(t, s, message("room", "x"))
	for range 30 {
		m.advance(7 * time.Minute)
		mustPublish(t, s, message("room", "x"))
		outlives(t, m, s, "a publish")
	}
	if ttl := m.TTL(s.StreamKey("room")); ttl == 17*time.Hour {
		t.Error("the last publish has renewed its stream")
	}
	if _, err := s.Heads(t.Context(), []string{"room"}); err != nil {
		t.Fatal(err)
	}
	outlives(t, m, s, "a reader")

	// As a node of an earlier version leaves them: it does not know the field.
	fields := strings.Fields(get(t, m, s.HeadKey("room")))
	m.Set(s.HeadKey("room"), strings.Join(fields[:8], " "))
	m.SetTTL(s.HeadKey("room"), 48*time.Hour)
	m.SetTTL(s.StreamKey("room"), 16*time.Hour)
	m.advance(time.Minute)
	if r := mustPublish(t, s, message("room", "x")); r.Position.Offset != 32 {
		t.Errorf("it goes on at %v", r.Position)
	}
	outlives(t, m, s, "after an earlier version")

	for _, key := range []string{s.StreamKey("room"), s.HeadKey("room")} {
		m.Del(key)
		mustPublish(t, s, message("room", "x"))
		outlives(t, m, s, key+" was deleted")
		mustPublish(t, s, message("room", "x"))
	}
	m.advance(48*time.Hour + time.Hour)
	if m.Exists(s.HeadKey("room")) || m.Exists(s.StreamKey("room")) {
		t.Error("the keys do not expire")
	}
}

// TestStreamOlderThanItsMessages: a stream that has not expired yet, though its
// messages are too old, is as good as none.
func TestStreamOlderThanItsMessages(t *testing.T) {
	t.Parallel()
	m, s := expiring(t)
	var old hub.Position
	for range 5 {
		old = mustPublish(t, s, message("room", "old")).Position
	}
	m.advance(16 * time.Hour)
	if !m.Exists(s.StreamKey("room")) {
		t.Fatal("the stream has expired")
	}
	if page := history(t, s, "room"); len(page.Messages) != 0 || page.Head != old || page.Floor != old {
		t.Errorf("%+v", page)
	}
	next := mustPublish(t, s, message("room", "new")).Position
	if next.Offset != 6 || next.Epoch != old.Epoch {
		t.Errorf("after %v came %v", old, next)
	}
	entries, err := m.Stream(s.StreamKey("room"))
	if err != nil || len(entries) != 1 || entries[0].ID != "6-0" {
		t.Errorf("the stream holds %v, %v", entries, err)
	}
	if fields := strings.Fields(get(t, m, s.HeadKey("room"))); fields[6] != "138" { // a message is counted with 128 and its texts
		t.Errorf("its bytes are %s", fields[6])
	}
	outlives(t, m, s, "afterwards")
	page, err := s.Read(t.Context(), hub.ReadRequest{Room: "room", From: old, Limit: 10})
	if err != nil || page.Gap != nil || len(page.Messages) != 1 {
		t.Errorf("%+v, %v", page, err)
	}
}

func get(t *testing.T, m *miniServer, key string) string {
	t.Helper()
	v, err := m.Get(key)
	if err != nil {
		t.Fatal(key, err)
	}
	return v
}

// TestClockGoesBack: what was stored while the clock was far ahead does not keep
// a room's keys until then.
func TestClockGoesBack(t *testing.T) {
	t.Parallel()
	m, s := expiring(t)
	m.now = m.now.AddDate(10, 0, 0)
	m.SetTime(m.now)
	mustPublish(t, s, message("room", "x"))
	for _, key := range []string{s.StreamKey("room"), s.HeadKey("room")} {
		m.SetTTL(key, m.TTL(key)+10*365*24*time.Hour) // miniredis counts down and forgets until when
	}
	m.now = m.now.AddDate(-10, 0, 0)
	m.SetTime(m.now)
	if r := mustPublish(t, s, message("room", "x")); r.Position.Offset != 2 {
		t.Errorf("it goes on at %v", r.Position)
	}
	outlives(t, m, s, "afterwards")
}
