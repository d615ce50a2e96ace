//go:build unix

package redis_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/redis"
)

// leastRights are the rules that KEYS.md proposes.
func leastRights(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("KEYS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rule, ok := strings.Cut(string(text), "ACL SETUSER culvert ")
	if !ok {
		t.Fatal("KEYS.md proposes no user")
	}
	rule, _, _ = strings.Cut(rule, "\n\n")
	return strings.Fields(strings.ReplaceAll(rule, "\\\n", " "))
}

func setUser(srv *server, rules ...string) {
	srv.cli(append([]string{"acl", "setuser", "culvert"}, rules...)...)
}

// TestLeastRights: the user that KEYS.md proposes can do all that the store does.
func TestLeastRights(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	nodes := startCluster(t, 2)
	for name, c := range map[string]struct {
		servers []*server
		url     string
		without []string // what is for others only
	}{
		"single":  {[]*server{srv}, srv.url(), []string{"-spublish", "-ssubscribe", "-sunsubscribe", "-cluster", "-role"}},
		"cluster": {nodes, clusterURL(nodes), []string{"-publish", "-subscribe", "-unsubscribe", "-role"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, srv := range c.servers {
				setUser(srv, leastRights(t)...)
				setUser(srv, c.without...)
			}
			s := open(t, redis.Options{URL: asUser(c.url), HistoryCount: 2})
			tryEverything(t, s)
			for _, srv := range c.servers {
				if log := srv.cli("acl", "log"); log != "" {
					t.Errorf("Redis denied: %s", log)
				}
				// The rules of an earlier version, without MGET, do as well.
				setUser(srv, "-mget")
			}
			batch := []hub.Publish{keyed("room", "k", "x"), message("new", "x"), message("room", "x")}
			for i, r := range s.Publish(t.Context(), batch) {
				if want := []uint64{6, 1, 7}[i]; r.Err != nil || r.Position.Offset != want {
					t.Errorf("without MGET, element %d: %+v", i, r)
				}
			}
		})
	}
}

func asUser(url string) string { return strings.Replace(url, "://", "://culvert:password@", 1) }

// tryEverything does all that a store does.
func tryEverything(t *testing.T, s *redis.Store) {
	t.Helper()
	var w recorder
	stop, err := s.Watch(t.Context(), "room", &w)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		mustPublish(t, s, keyed("room", hub.NewMessageID(), "x"))
	}
	w.hears(t, s, "room")
	for _, mode := range []hub.ReadMode{hub.ReadAfter, hub.ReadOldest, hub.ReadLatest} {
		if _, err := s.Read(t.Context(), hub.ReadRequest{Room: "room", Mode: mode, Limit: 10}); err != nil {
			t.Error(err)
		}
	}
	lease := []hub.Lease{{Room: "room", Client: "c", Holder: "n", TTL: time.Hour}, {Room: "room", Client: "d", Holder: "n", TTL: time.Millisecond}}
	_, headsErr := s.Heads(t.Context(), []string{"room"})
	_, presentErr := s.Present(t.Context(), "room", 10)
	for i, err := range []error{s.Renew(t.Context(), lease), s.Renew(t.Context(), lease), presentErr, headsErr, s.Release(t.Context(), lease), s.Ping(t.Context())} {
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	warnings, err := s.Check(t.Context())
	if err != nil {
		t.Error(err)
	}
	for _, w := range warnings {
		if w.Code == "unchecked" {
			t.Error(w)
		}
	}
	stop()
}

// optional are the rules without which the store works, or whose lack Open
// tells: what the scripts do not call, on a single server.
var optional = []string{"on", ">password", "-@all", "+@connection", "+time", "+info", "+config|get", "+mget",
	"+role", "+cluster|slots", "+cluster|shards", "+spublish", "+ssubscribe", "+sunsubscribe"}

// TestCheckNamesMissingRights: all of them, as one command that gives them.
func TestCheckNamesMissingRights(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	setUser(srv, leastRights(t)...)
	s := open(t, redis.Options{URL: asUser(srv.url())})
	check := func() error {
		_, err := s.Check(t.Context())
		return err
	}
	if err := check(); err != nil {
		t.Fatal(err)
	}
	cure := regexp.MustCompile(`ACL SETUSER culvert (.*) \(redis says: `)
	// cured follows what the error proposes.
	cured := func(what string, want ...string) {
		t.Helper()
		err := check()
		if err == nil {
			t.Errorf("without %s: nothing is said", what)
			return
		}
		m := cure.FindStringSubmatch(err.Error())
		if m == nil {
			t.Fatalf("without %s: %v", what, err)
		}
		rules := strings.Fields(m[1])
		for _, rule := range want {
			if !slices.Contains(rules, rule) {
				t.Errorf("without %s: %v", what, err)
			}
		}
		setUser(srv, rules...)
		if err := check(); err != nil {
			t.Errorf("without %s, and when that was given: %v", what, err)
		}
	}
	for _, rule := range leastRights(t) {
		switch {
		case slices.Contains(optional, rule):
		case rule[0] == '+':
			setUser(srv, "-"+rule[1:])
			cured(rule, rule)
		case rule[0] == '~':
			setUser(srv, "resetkeys", "~other:*")
			cured(rule, rule)
		case rule[0] == '&':
			setUser(srv, "resetchannels", "&other:*")
			// That ends connections with subscriptions to what is no longer allowed.
			eventually(t, "Check says something of rights", func() bool {
				err := check()
				return err != nil && strings.Contains(err.Error(), "rights")
			}, func() any { return check() })
			cured(rule, rule)
		}
	}
	setUser(srv, "-xadd", "-pexpire", "-subscribe")
	cured("several", "+xadd", "+pexpire", "+subscribe")
	if keys := srv.cli("keys", "*"); keys != "" {
		t.Errorf("Check leaves keys: %s", keys)
	}

	// Who does not know the server at all is told so before, by Open.
	setUser(srv, "-time")
	if s, err := redis.Open(t.Context(), redis.Options{URL: asUser(srv.url())}); err == nil || !strings.Contains(err.Error(), "'time'") {
		t.Errorf("without TIME: %v", err)
		s.Close()
	}
}

// TestCheckMissingCommands: some that offer Redis have renamed or disabled what
// they think dangerous.
func TestCheckMissingCommands(t *testing.T) {
	t.Parallel()
	srv := startServer(t, "--rename-command", "XTRIM", "", "--rename-command", "PEXPIRE", "other")
	s := open(t, redis.Options{URL: srv.url()})
	if _, err := s.Check(t.Context()); err == nil || !strings.HasSuffix(err.Error(), ": PEXPIRE XTRIM") {
		t.Errorf("%v", err)
	}
}

// TestCheckWhereNothingCanBeWritten: that is no lack of rights, and passes.
func TestCheckWhereNothingCanBeWritten(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	setUser(srv, append(leastRights(t), "-xtrim")...)
	s := open(t, redis.Options{URL: srv.url()})
	poor := open(t, redis.Options{URL: asUser(srv.url())})
	for _, commands := range [][2]string{
		{"config set maxmemory 1", "config set maxmemory 0"},
		{"replicaof 127.0.0.1 1", "replicaof no one"},
	} {
		srv.cli(strings.Fields(commands[0])...)
		if _, err := s.Check(t.Context()); err != nil {
			t.Errorf("%s: %v", commands[0], err)
		}
		if _, err := poor.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "ACL SETUSER culvert +xtrim (") {
			t.Errorf("%s, without XTRIM: %v", commands[0], err)
		}
		srv.cli(strings.Fields(commands[1])...)
	}
}

// TestCheckEveryNodeOfACluster: each has users of its own, and one was forgotten.
func TestCheckEveryNodeOfACluster(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3)
	for _, n := range nodes {
		setUser(n, leastRights(t)...)
	}
	s := open(t, redis.Options{URL: asUser(clusterURL(nodes))})
	if _, err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	for _, rule := range []string{"xadd", "spublish", "ssubscribe", "sunsubscribe", "eval", "evalsha"} {
		setUser(nodes[2], "-"+rule)
		_, err := s.Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), "on every node of the cluster: ACL SETUSER culvert +"+rule+" (") {
			t.Errorf("without %s: %v", rule, err)
		}
		setUser(nodes[2], "+"+rule)
	}
	if _, err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// lines is a log that a test reads while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestRightsTakenAway: from a store that runs. No publish is half done: either
// it is refused, or done and what is left to do is made good later.
func TestRightsTakenAway(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	setUser(srv, leastRights(t)...)
	var log lines
	s := open(t, redis.Options{URL: asUser(srv.url()), HistoryCount: 2, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	setUser(srv, "-pexpire", "-xtrim", "-xrange")
	var last hub.Position
	for i := range 5 {
		k := keyed("room", hub.NewMessageID(), "x")
		r := publish(t.Context(), s, k)
		if r.Err != nil || r.Position.Offset != uint64(i+1) || last.Epoch != "" && r.Position.Epoch != last.Epoch {
			t.Fatalf("after %v came %+v", last, r)
		}
		last = r.Position
		if again := publish(t.Context(), s, k); !again.Duplicate || again.Position != last {
			t.Errorf("again: %+v", again)
		}
	}
	if ttl := srv.cli("pttl", s.StreamKey("room")); ttl != "-1" {
		t.Errorf("PEXPIRE was not allowed, and the stream expires in %s ms", ttl)
	}
	if n := strings.Count(log.String(), "redis does not let histories be trimmed"); n != 1 {
		t.Errorf("log:\n%s", log.String())
	}
	// What ends a call must not have been begun: the message is not applied, and
	// its key free.
	srv.cli("del", s.HeadKey("room"))
	setUser(srv, "-del")
	k := keyed("room", "k", "x")
	if r := publish(t.Context(), s, k); !errors.Is(r.Err, hub.ErrUnavailable) {
		t.Errorf("a new epoch without DEL: %+v", r)
	}

	setUser(srv, "+pexpire", "+xtrim", "+xrange", "+del")
	var r hub.Result
	eventually(t, "publish", func() bool { // the key is free a millisecond later
		r = publish(t.Context(), s, k)
		return !r.Duplicate
	}, nil)
	if r.Err != nil || r.Position.Offset != 1 || r.Position.Epoch <= last.Epoch {
		t.Errorf("afterwards: %+v", r)
	}
	for range 3 {
		mustPublish(t, s, message("room", "x"))
	}
	if page := history(t, s, "room"); len(page.Messages) != 2 {
		t.Errorf("%d messages", len(page.Messages))
	}
	if n, ttl := srv.cli("xlen", s.StreamKey("room")), srv.cli("pttl", s.StreamKey("room")); n != "2" || ttl == "-1" {
		t.Errorf("%s messages, which expire in %s ms", n, ttl)
	}

	// A call that can tell neither what it did before nor what there is.
	setUser(srv, "-get")
	if r := publish(t.Context(), s, message("room", "x")); !errors.Is(r.Err, hub.ErrUnavailable) {
		t.Errorf("without GET: %+v", r)
	}

	// Only this is half done, and told as what it is.
	setUser(srv, "+get", "-set")
	if r := publish(t.Context(), s, message("room", "x")); !errors.Is(r.Err, hub.ErrOutcomeUnknown) {
		t.Errorf("without SET: %+v", r)
	}
	before := history(t, s, "room").Head
	setUser(srv, "+set")
	if next := mustPublish(t, s, message("room", "x")).Position; next.Offset != 1 || next.Epoch <= before.Epoch {
		t.Errorf("after %v came %v", before, next)
	}
}
