//go:build unix

package redis_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/redis"
)

// TestTrimBySums: what the position says of the history is what is there,
// however trimming has found it out: by the sums that some messages carry, or,
// where a node of an earlier version has been at work, by looking at them all.
func TestTrimBySums(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	for _, bounds := range []redis.Options{{HistoryCount: 600}, {HistoryCount: 20}, {HistoryCount: 600, HistoryBytes: 100_000}} {
		bounds.Prefix = fmt.Sprintf("p-%d-%d", bounds.HistoryCount, bounds.HistoryBytes)
		bounds.URL = srv.url()
		s := open(t, bounds)
		slack := 0
		if bounds.HistoryCount > 512 {
			slack = bounds.HistoryCount / 16
		}
		n, trims := 0, 0
		floor := "0"
		for round := range 90 {
			batch := make([]hub.Publish, 1+round%29)
			for i := range batch {
				n++
				batch[i] = message("room", strings.Repeat("x", n%97))
			}
			for _, r := range s.Publish(t.Context(), batch) {
				if r.Err != nil {
					t.Fatal(r.Err)
				}
			}
			fields := strings.Fields(srv.cli("get", s.HeadKey("room")))
			page := history(t, s, "room")
			bytes := 0
			for _, m := range page.Messages {
				bytes += m.Size()
			}
			if kept := len(page.Messages); fields[6] != strconv.Itoa(bytes) || kept > bounds.HistoryCount+slack ||
				bounds.HistoryBytes == 0 && kept < min(n, bounds.HistoryCount) {
				t.Fatalf("%s: after %d, %d messages of %d bytes, position %v", bounds.Prefix, n, kept, bytes, fields)
			}
			if len(page.Messages) > 0 && srv.cli("xlen", s.StreamKey("room")) != strconv.Itoa(len(page.Messages)) {
				t.Fatalf("%s: after %d, the stream has another length", bounds.Prefix, n)
			}
			if want := strconv.FormatInt(page.Messages[0].Time+24*3600*1000, 10); floor != fields[4] && fields[7] != want {
				t.Errorf("%s: after %d, the oldest is due at %s, the position says %s", bounds.Prefix, n, want, fields[7])
			}
			if page.Floor.Offset > 0 && page.Floor.ID == "" {
				t.Errorf("%s: after %d, the floor has no id", bounds.Prefix, n)
			}
			if floor != fields[4] {
				floor = fields[4]
				trims++
			}
			if round == 20 || round == 60 { // an earlier version has written it
				srv.cli("set", s.HeadKey("room"), strings.Join(fields[:8], " "), "ex", "100000")
			}
		}
		if trims < 3 {
			t.Errorf("%s: it was trimmed %d times", bounds.Prefix, trims)
		}
	}
}

// TestTrimReadsLittle: a message that leaves because there are too many is not
// looked at.
func TestTrimReadsLittle(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, redis.Options{URL: srv.url()})
	batch := make([]hub.Publish, 100)
	for range 30 {
		for i := range batch {
			batch[i] = message("room", "x")
		}
		s.Publish(t.Context(), batch)
	}
	calls := map[string]int{}
	for line := range strings.Lines(srv.cli("info", "commandstats")) {
		if name, rest, ok := strings.Cut(line, ":calls="); ok {
			n, _, _ := strings.Cut(rest, ",")
			calls[name], _ = strconv.Atoi(n)
		}
	}
	// Whoever reads the hundred messages that leave, and the one behind them, takes
	// two. How often it is trimmed is a matter of chance, since a call may go out
	// with a part of the next batch.
	if ranges, trims := calls["cmdstat_xrange"], calls["cmdstat_xtrim"]; ranges == 0 || ranges > trims {
		t.Errorf("XRANGE was called %d times to trim %d times", ranges, trims)
	}
}

// TestStreamGone: a history that was deleted or evicted takes up none of the
// room of the next one.
func TestStreamGone(t *testing.T) {
	t.Parallel()
	m := startMini(t)
	s := open(t, redis.Options{URL: "redis://" + m.Addr(), RESP2: true, HistoryBytes: 10_000})
	for range 60 {
		mustPublish(t, s, message("room", "old"))
	}
	old := history(t, s, "room").Head
	m.Del(s.StreamKey("room"))
	for n := range 70 {
		mustPublish(t, s, message("room", "new"))
		page := history(t, s, "room")
		bytes := 0
		for _, m := range page.Messages {
			bytes += m.Size()
		}
		if fields := strings.Fields(get(t, m, s.HeadKey("room"))); len(page.Messages) != n+1 || page.Floor != old || fields[6] != strconv.Itoa(bytes) {
			t.Fatalf("%d messages of %d bytes from %v, position %v", len(page.Messages), bytes, page.Floor, fields)
		}
	}
}
