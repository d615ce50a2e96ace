//go:build unix

package redis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/redis"
	"github.com/culvertd/culvert/store/redis/mini"
)

// documented reads the table of keys in KEYS.md: a pattern and a type each.
func documented(t *testing.T, prefix string) map[*regexp.Regexp]string {
	t.Helper()
	text, err := os.ReadFile("KEYS.md")
	if err != nil {
		t.Fatal(err)
	}
	part := regexp.MustCompile(`<[^>]+>`)
	out := map[*regexp.Regexp]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `…:([^`]+)` \\| ([a-z ]+) \\|").FindAllStringSubmatch(string(text), -1) {
		pattern := "^" + regexp.QuoteMeta(prefix+":1:") + `\{\d+\}:` + part.ReplaceAllString(m[1], `[^\s{}]+`) + "$"
		kind := map[string]string{"string": "string", "stream": "stream", "sorted set": "zset", "hash": "hash"}[m[2]]
		if kind == "" {
			t.Fatalf("KEYS.md: type %q", m[2])
		}
		out[regexp.MustCompile(pattern)] = kind
	}
	if len(out) < 8 {
		t.Fatalf("KEYS.md documents %d keys", len(out))
	}
	return out
}

// everything does everything that leaves a key.
func everything(t *testing.T, s *redis.Store) {
	t.Helper()
	eph := keyed("room", "ephemeral", "x")
	eph.Ephemeral = true
	batch := []hub.Publish{
		message("room", "x"), keyed("room", "plain", "x"), keyed("room", "\x00 {hostile} \r\n*", "x"), keyed("a:b@c~d", "k", "x"),
		keyed("room", strings.Repeat("long", 60), "x"), eph, message("only ephemeral", "x"),
	}
	batch[6].Ephemeral = true
	for i, r := range s.Publish(t.Context(), batch) {
		if r.Err != nil {
			t.Fatalf("element %d: %v", i, r.Err)
		}
	}
	leases := []hub.Lease{
		{Room: "room", Client: "c", Holder: "n", From: "u", TTL: time.Minute},
		{Room: "room", Client: "d", Holder: "n", TTL: time.Millisecond},
		{Room: "other", Client: "\x00 e", Holder: "n m", TTL: time.Hour},
	}
	if err := errors.Join(s.Renew(t.Context(), leases), s.Renew(t.Context(), leases[:1]), s.Ping(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Heads(t.Context(), []string{"room", "other", "nothing"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Present(t.Context(), "room", 10); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(t.Context(), hub.ReadRequest{Room: "room", Limit: 10}); err != nil {
		t.Fatal(err)
	}
}

// TestEveryKeyExpires looks at the database with redis-cli: every key is one
// that KEYS.md documents, and expires.
func TestEveryKeyExpires(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	m, err := mini.Open(t.Context(), "", redis.Options{Prefix: "app:2"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	_, miniPort, _ := strings.Cut(m.Addr, ":")
	port, _ := strconv.Atoi(miniPort)
	for name, c := range map[string]struct {
		store *redis.Store
		port  int
	}{
		"server": {open(t, redis.Options{URL: srv.url(), Prefix: "app:2"}), srv.port},
		"mini":   {m.Store, port},
	} {
		t.Run(name, func(t *testing.T) {
			everything(t, c.store)
			patterns := documented(t, "app:2")
			used := map[*regexp.Regexp]bool{}
			keys := strings.Fields(cli(t, c.port, "--scan"))
			for _, key := range keys {
				ms, err := strconv.Atoi(cli(t, c.port, "pttl", key))
				if err != nil || ms <= 0 || ms > int((8*24*time.Hour).Milliseconds()) {
					t.Errorf("%s: PTTL %d, %v", key, ms, err)
				}
				kind := cli(t, c.port, "type", key)
				found := false
				for p, want := range patterns {
					if p.MatchString(key) {
						found = true
						used[p] = true
						if kind != want {
							t.Errorf("%s is a %s, KEYS.md says %s", key, kind, want)
						}
					}
				}
				if !found {
					t.Errorf("KEYS.md does not know %s (%s)", key, kind)
				}
			}
			for p := range patterns {
				if !used[p] {
					t.Errorf("no key is like %s", p)
				}
			}
			t.Logf("%d keys", len(keys))
		})
	}
}

// TestWhatKeysHold: the forms that KEYS.md shows.
func TestWhatKeysHold(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url()})
	r := mustPublish(t, s, keyed("lobby", "order-7", "hi"))
	head := srv.cli("get", "culvert:1:{247}:head:lobby")
	if want := fmt.Sprintf("%s 1 %s %d 0 - ", r.Position.Epoch, r.Position.ID, r.Time); !strings.HasPrefix(head, want) {
		t.Errorf("head is %q, want %q…", head, want)
	}
	key := srv.cli("get", "culvert:1:{247}:key:lobby/u/order-7")
	if want := fmt.Sprintf(" %s 1 %s %d", r.Position.Epoch, r.Position.ID, r.Time); !strings.HasSuffix(key, want) || strings.Index(key, " ") != 32 {
		t.Errorf("key is %q, want …%q", key, want)
	}
	if got := srv.cli("xrange", "culvert:1:{247}:log:lobby", "-", "+"); got != fmt.Sprintf("1-0\ni\n%s\nt\n%d\nf\nu\nd\n\"hi\"", r.Position.ID, r.Time) {
		t.Errorf("log is %q", got)
	}
	pttl, _ := strconv.Atoi(srv.cli("pttl", "culvert:1:{247}:key:lobby/u/order-7"))
	if ttl := time.Duration(pttl) * time.Millisecond; ttl > time.Hour || ttl < time.Hour-patience {
		t.Errorf("the key lives %v", ttl)
	}
}

// TestCallsAfterTheirTime: a call of the publish script that was overtaken, or
// turns up after its time, does nothing.
func TestCallsAfterTheirTime(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url()})
	text, _ := s.PublishScript()
	call := func(sequence int, notAfter time.Time, id string) string {
		t.Helper()
		args := append([]string{"EVAL", text, "3", "fence", s.HeadKey("room"), s.StreamKey("room"), strconv.Itoa(sequence),
			strconv.FormatInt(notAfter.UnixMilli(), 10), "0123456789abc"}, s.PublishArgs()...)
		v, err := s.Do(t.Context(), append(args, "1", "1", "room", s.Channel("room"), "1", id, "u", `"x"`, fmt.Sprintf("%d 1 3", len(id)), "")...)
		if err != nil {
			t.Fatal(err)
		}
		return v.(string)
	}
	later := time.Now().Add(time.Hour)
	first := call(5, later, "aaaaaaaaaa")
	if !strings.HasPrefix(first, "ok ") {
		t.Fatal(first)
	}
	if again := call(5, later, "aaaaaaaaaa"); again != first {
		t.Errorf("a repetition says %q, the first %q", again, first)
	}
	if old := call(4, later, "bbbbbbbbbb"); !strings.HasPrefix(old, "fenced ") {
		t.Errorf("an overtaken call says %q", old)
	}
	if late := call(6, time.Now().Add(-time.Hour), "cccccccccc"); !strings.HasPrefix(late, "stale ") {
		t.Errorf("a late call says %q", late)
	}
	if next := call(6, later, "dddddddddd"); !strings.HasPrefix(next, "ok ") {
		t.Errorf("the next says %q", next)
	}
	if n := len(history(t, s, "room").Messages); n != 2 {
		t.Errorf("%d messages", n)
	}
}

// TestBehind: a position of a younger epoch than the room's is waited for, for
// half a minute of Redis' time, and then lost.
func TestBehind(t *testing.T) {
	t.Parallel()
	m := startMini(t)
	s := open(t, redis.Options{URL: "redis://" + m.Addr(), RESP2: true})
	mustPublish(t, s, message("room", "x"))
	m.advance(time.Hour)
	younger := hub.Position{Epoch: hub.NewEpoch(m.now.UnixMilli()), Offset: 5, ID: "aaaaaaaaaa"}
	for _, room := range []string{"room", "unknown"} {
		read := func(mode hub.ReadMode) (hub.Page, error) {
			return s.Read(t.Context(), hub.ReadRequest{Room: room, Mode: mode, From: younger, Limit: 10})
		}
		for _, mode := range []hub.ReadMode{hub.ReadAfter, hub.ReadBefore} {
			if _, err := read(mode); !errors.Is(err, hub.ErrBehind) {
				t.Errorf("%s: %v", room, err)
			}
		}
		for _, mode := range []hub.ReadMode{hub.ReadOldest, hub.ReadLatest} {
			if _, err := read(mode); err != nil {
				t.Errorf("%s: %v", room, err)
			}
		}
	}
	m.advance(29 * time.Second)
	if _, err := s.Read(t.Context(), hub.ReadRequest{Room: "room", From: younger, Limit: 1}); !errors.Is(err, hub.ErrBehind) {
		t.Error(err)
	}
	m.advance(time.Second)
	page, err := s.Read(t.Context(), hub.ReadRequest{Room: "room", From: younger, Limit: 1})
	if err != nil || page.Gap == nil || page.Gap.Reason != hub.GapLost || len(page.Messages) != 1 {
		t.Errorf("%+v, %v", page, err)
	}
}

// TestHistoryInBulk: with the default bounds trimming is done in bulk, and
// never below the bound.
func TestHistoryInBulk(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url()})
	batch := make([]hub.Publish, 100)
	for range 25 {
		for i := range batch {
			batch[i] = message("room", "x")
		}
		for _, r := range s.Publish(t.Context(), batch) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	page := history(t, s, "room")
	if n := len(page.Messages); n < 1000 || n > 1062 || page.Head.Offset != 2500 || page.Floor.Offset != 2500-uint64(n) {
		t.Errorf("%d messages, head %v, floor %v", n, page.Head, page.Floor)
	}
	if n := srv.cli("xlen", s.StreamKey("room")); n != fmt.Sprint(len(page.Messages)) {
		t.Errorf("the stream has %s", n)
	}
	big := message("bytes", strings.Repeat("x", 20_000))
	for range 200 {
		big.ID = hub.NewMessageID()
		mustPublish(t, s, big)
	}
	sum := 0
	for _, m := range history(t, s, "bytes").Messages {
		sum += m.Size()
	}
	if sum > 1<<20+1<<16 || sum < 1<<20-30_000 {
		t.Errorf("%d bytes are kept", sum)
	}
}

// TestQueuesAreBounded: what waits for a Redis that does not answer is bounded.
func TestQueuesAreBounded(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url(), QueueLen: 10, Lanes: 1, CommandTimeout: 20 * time.Second})
	mustPublish(t, s, message("room", "x"))
	srv.freeze()
	publish := func(after time.Duration, batch ...hub.Publish) []hub.Result {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		defer cancel()
		return s.Publish(ctx, batch)
	}
	// What was sent does not wait any more. With a call under way the lane takes
	// nothing from its queue, and who left it too early was not in one.
	for tries := 1; !errors.Is(publish(100*time.Millisecond, message("room", "x"))[0].Err, hub.ErrOutcomeUnknown); tries++ {
		if tries == 50 {
			t.Fatal("nothing is sent")
		}
	}
	batch := make([]hub.Publish, 200)
	for i := range batch {
		batch[i] = message("room", "x")
	}
	full := 0
	for i, r := range publish(time.Second, batch...) {
		if !errors.Is(r.Err, hub.ErrUnavailable) {
			t.Errorf("element %d: %+v", i, r)
		}
		if r.Err != nil && strings.Contains(r.Err.Error(), "too many") {
			full++
		}
	}
	if full != 200-10 {
		t.Errorf("%d were refused", full)
	}
	srv.thaw()
	mustPublish(t, s, message("room", "x"))
}

func TestCheck(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url()})
	codes := func(s *redis.Store) string {
		t.Helper()
		warnings, err := s.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, w := range warnings {
			out = append(out, w.Code)
			if len(w.Text) < 40 {
				t.Errorf("%+v gives no reason", w)
			}
		}
		return strings.Join(out, " ")
	}
	if got := codes(s); got != "persistence" {
		t.Errorf("without a log on disk: %s", got)
	}
	srv.cli("config", "set", "maxmemory-policy", "allkeys-lru")
	srv.cli("config", "set", "appendonly", "yes")
	if got := codes(s); got != "eviction" {
		t.Errorf("with eviction: %s", got)
	}
	srv.cli("config", "set", "maxmemory-policy", "noeviction")
	if got := codes(s); got != "" {
		t.Errorf("as it should be: %s", got)
	}
	srv.cli("acl", "setuser", "blind", "on", ">pw", "~*", "&*", "+@all", "-info", "-config")
	blind := open(t, redis.Options{URL: "redis://blind:pw@" + srv.addr()})
	if got := codes(blind); got != "unchecked" {
		t.Errorf("without INFO: %s", got)
	}
	m := startMini(t) // its clock stands at another time
	if got := codes(open(t, redis.Options{URL: "redis://" + m.Addr(), RESP2: true})); got != "clock unchecked" {
		t.Errorf("miniredis: %s", got)
	}
}
