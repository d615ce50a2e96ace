//go:build unix

package redis_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/redis"
)

// TestKeyGivenBack: a publish whose message cannot be stored leaves no key, and
// with the same key it can be made afterwards.
func TestKeyGivenBack(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	m := startMini(t)
	for name, s := range map[string]*redis.Store{
		"server": open(t, redis.Options{URL: srv.url()}),
		"mini":   open(t, redis.Options{URL: "redis://" + m.Addr(), RESP2: true}),
	} {
		t.Run(name, func(t *testing.T) {
			do := func(args ...string) any {
				t.Helper()
				v, err := s.Do(t.Context(), args...)
				if err != nil {
					t.Fatal(args, err)
				}
				return v
			}
			do("SET", s.StreamKey("stream"), "x")
			do("LPUSH", s.HeadKey("head"), "x")
			do("LPUSH", s.DedupeKey("key", "u", "k"), "x")
			rooms := []string{"stream", "head", "key"}
			batch := []hub.Publish{keyed("good", "k", "x")}
			for _, room := range rooms {
				batch = append(batch, keyed(room, "k", "x"))
			}
			batch = append(batch, keyed("good", "k2", "x"))
			for i, r := range s.Publish(t.Context(), batch) {
				if good := batch[i].Room == "good"; good && r.Err != nil || !good && (!errors.Is(r.Err, hub.ErrUnavailable) || !strings.Contains(r.Err.Error(), "WRONGTYPE")) {
					t.Errorf("%s: %+v", batch[i].Room, r)
				}
			}
			for _, room := range []string{"stream", "head"} {
				if n := do("EXISTS", s.DedupeKey(room, "u", "k")); n != int64(0) {
					t.Errorf("%s: the key is there", room)
				}
			}
			do("DEL", s.StreamKey("stream"))
			do("DEL", s.HeadKey("head"))
			do("DEL", s.DedupeKey("key", "u", "k"))
			for _, room := range rooms {
				if r := mustPublish(t, s, keyed(room, "k", "x")); r.Duplicate || r.Position.Offset != 1 {
					t.Errorf("%s, afterwards: %+v", room, r)
				}
				if r := mustPublish(t, s, keyed(room, "k", "x")); !r.Duplicate || r.Position.Offset != 1 {
					t.Errorf("%s, repeated: %+v", room, r)
				}
			}
			// What was published is told where nothing more can be.
			do("DEL", s.HeadKey("head"))
			do("LPUSH", s.HeadKey("head"), "x")
			if r := mustPublish(t, s, keyed("head", "k", "x")); !r.Duplicate || r.Position.Offset != 1 {
				t.Errorf("a repetition, without a position: %+v", r)
			}
			if r := publish(t.Context(), s, keyed("head", "k", "y")); !errors.Is(r.Err, hub.ErrKeyConflict) {
				t.Errorf("a conflict, without a position: %+v", r)
			}
		})
	}
}

// TestRefusedWithKeys: where Redis takes no writes it takes no keys, and tells of
// those that it has.
func TestRefusedWithKeys(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url()})
	before := mustPublish(t, s, keyed("room", "before", "x"))
	for _, c := range []struct {
		word     string
		on, back []string
	}{
		{"OOM", []string{"config", "set", "maxmemory", "1"}, []string{"config", "set", "maxmemory", "0"}},
		{"NOREPLICAS", []string{"config", "set", "min-replicas-to-write", "1"}, []string{"config", "set", "min-replicas-to-write", "0"}},
		{"READONLY", []string{"replicaof", "127.0.0.1", "1"}, []string{"replicaof", "no", "one"}},
	} {
		srv.cli(c.on...)
		eph := keyed("room", "e", "x")
		eph.Ephemeral = true
		batch := []hub.Publish{
			keyed("room", "before", "x"), keyed("room", "k", "x"), keyed("new", "k", "x"), eph,
			keyed("room", "before", "x"), keyed("room", "before", "y"), message("room", "x"),
		}
		results := s.Publish(t.Context(), batch)
		srv.cli(c.back...)
		for _, i := range []int{0, 4} {
			if r := results[i]; r.Err != nil || !r.Duplicate || r.Position != before.Position {
				t.Errorf("%s: the repetition: %+v", c.word, r)
			}
		}
		if r := results[5]; !errors.Is(r.Err, hub.ErrKeyConflict) {
			t.Errorf("%s: the conflict: %+v", c.word, r)
		}
		for _, i := range []int{1, 2, 3, 6} {
			if r := results[i]; !errors.Is(r.Err, hub.ErrUnavailable) || !strings.Contains(r.Err.Error(), c.word) {
				t.Errorf("%s: element %d: %+v", c.word, i, r)
			}
		}
		if n := srv.cli("exists", s.DedupeKey("room", "u", "k"), s.DedupeKey("new", "u", "k"), s.DedupeKey("room", "u", "e"), s.HeadKey("new"), s.StreamKey("new")); n != "0" {
			t.Errorf("%s: %s keys are there", c.word, n)
		}
		if page := history(t, s, "room"); len(page.Messages) != 1 || page.Head != before.Position {
			t.Errorf("%s: %d messages, head %v", c.word, len(page.Messages), page.Head)
		}
	}
	if r := mustPublish(t, s, keyed("room", "k", "other")); r.Duplicate || r.Position.Offset != 2 {
		t.Errorf("afterwards: %+v", r)
	}
}

// TestKeysInANewEpoch: keys know the epoch that begins with their message, be it
// the first of its call or not.
func TestKeysInANewEpoch(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url()})
	behind := func() {
		t.Helper()
		mustPublish(t, s, message("room", "x"))
		head := srv.cli("get", s.HeadKey("room"))
		mustPublish(t, s, message("room", "x"))
		srv.cli("set", s.HeadKey("room"), head, "ex", "1000")
	}
	behind()
	old := mustPublish(t, s, keyed("other", "k", "x"))
	batch := []hub.Publish{
		keyed("other", "k", "x"), keyed("room", "a", "x"), keyed("other", "b", "x"),
		keyed("room", "a", "x"), message("room", "x"), keyed("room", "c", "x"), keyed("room", "a", "y"),
	}
	results := s.Publish(t.Context(), batch)
	for i, want := range []uint64{1, 1, 2, 1, 2, 3, 0} {
		r := results[i]
		if r.Position.Offset != want || r.Duplicate != (i == 0 || i == 3) || (i == 6) != errors.Is(r.Err, hub.ErrKeyConflict) {
			t.Errorf("element %d: %+v", i, r)
		}
		if i < 6 && (batch[i].Room == "other") != (r.Position.Epoch == old.Position.Epoch) {
			t.Errorf("element %d has the epoch %s", i, r.Position.Epoch)
		}
	}
	for i, key := range map[int]string{1: "a", 5: "c"} {
		if r := mustPublish(t, s, keyed("room", key, "x")); !r.Duplicate || r.Position != results[i].Position {
			t.Errorf("%s again: %+v, was %+v", key, r, results[i])
		}
		if ttl := srv.cli("pttl", s.DedupeKey("room", "u", key)); len(ttl) < 7 {
			t.Errorf("%s lives %s ms", key, ttl)
		}
	}
	page := history(t, s, "room")
	if len(page.Messages) != 3 || page.Head != results[5].Position {
		t.Errorf("%d messages, head %v", len(page.Messages), page.Head)
	}
	// A position that is gone: its successor's epoch is known before its stream
	// turns out to be older.
	srv.cli("del", s.HeadKey("room"))
	r := mustPublish(t, s, keyed("room", "d", "x"))
	if again := mustPublish(t, s, keyed("room", "d", "x")); r.Position.Offset != 1 || !again.Duplicate || again.Position != r.Position {
		t.Errorf("%+v, and again %+v", r, again)
	}
}

// TestKeyGivenBackWithoutRights: nor does one leave a key whose user lacks rights.
func TestKeyGivenBackWithoutRights(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	srv.cli("acl", "setuser", "poor", "on", ">pw", "~*", "&*", "+@all", "-xadd", "-del")
	s := open(t, redis.Options{URL: "redis://poor:pw@" + srv.addr()})
	if r := publish(t.Context(), s, keyed("room", "k", "x")); !errors.Is(r.Err, hub.ErrUnavailable) {
		t.Errorf("without the rights: %+v", r)
	}
	srv.cli("acl", "setuser", "poor", "+@all")
	eventually(t, "publish", func() bool {
		r := publish(t.Context(), s, keyed("room", "k", "x"))
		return r.Err == nil && !r.Duplicate
	}, nil)
}
